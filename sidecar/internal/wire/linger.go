package wire

import (
	"io"
	"time"
)

const (
	lingerSilence  = 5 * time.Second // of a refused sender, before its connection is closed
	lingerDraining = 2 * time.Second // in all once the replica drains: less than its last steps may take
)

// linger reads on after a refusal for as long as the sender goes on sending, at
// most for BODY_TIMEOUT: closing with unread bytes resets the connection, and
// the sender would not see the answer. deadline sets that of reads from r.
func (s *Server) linger(r io.Reader, deadline func(time.Time) error) {
	io.CopyN(io.Discard, &remains{s, r, deadline, time.Now()}, s.MaxBodyBytes)
}

// remains is what a refused sender still sends.
type remains struct {
	server   *Server
	from     io.Reader
	deadline func(time.Time) error
	began    time.Time
}

func (r *remains) Read(p []byte) (int, error) {
	now, end := time.Now(), r.began.Add(r.server.BodyTimeout)
	if r.server.Draining() {
		end = r.began.Add(lingerDraining)
	}
	if !now.Before(end) {
		return 0, io.EOF
	}
	if silent := now.Add(lingerSilence); silent.Before(end) {
		end = silent
	}
	_ = r.deadline(end) // fails on a closed connection only, which the read tells
	return r.from.Read(p)
}
