package wire

import (
	"io"
	"time"
)

const (
	lingerSilence  = 5 * time.Second // after this silence a refused sender's connection is closed
	lingerDraining = 2 * time.Second // total limit while the replica drains: less than its last steps may take
)

// linger reads and discards what a refused sender still sends, for BODY_TIMEOUT at
// most: closing with unread bytes resets the connection, and the sender would
// not see the answer. deadline sets the deadline of reads from r.
func (s *Server) linger(r io.Reader, deadline func(time.Time) error) {
	io.CopyN(io.Discard, &unread{s, r, deadline, time.Now()}, s.MaxBodyBytes)
}

// unread is what a refused sender still sends.
type unread struct {
	server   *Server
	from     io.Reader
	deadline func(time.Time) error
	began    time.Time
}

func (r *unread) Read(p []byte) (int, error) {
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
	_ = r.deadline(end) // fails only on a closed connection; the read reports it
	return r.from.Read(p)
}
