package wire

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// The public listener has at most MAX_CONNECTIONS connections. At the limit it
// still accepts: a sender that waits in the kernel's queue would get no answer
// until its own timeout, and so would a health check. The connection that has
// been idle longest is closed to make room. If none is idle, the new one gets
// 503. Probes have their own listener.

const (
	// minIdle is how long a connection must have been idle before it is closed to
	// make room: the first request of a new one may still be on its way.
	minIdle = time.Second
	// sampled is how many connections are searched for an idle one. Searching all
	// of them for each new one would make a flood expensive.
	sampled = 64
	// maxTurnedAway is how many connections may be answered 503 at one time;
	// beyond it they are closed without an answer.
	maxTurnedAway = 100
	turnAwayFor   = time.Second // how long such a sender has to read its answer
)

// idle records since when a connection has had no request.
type idle struct{ since atomic.Int64 } // UnixNano, 0 during a request

func (i *idle) idleFrom(now time.Time) { i.since.Store(now.UnixNano()) }
func (i *idle) busy()                  { i.since.Store(0) }
func (i *idle) isIdle() bool           { return i.since.Load() != 0 }
func (i *idle) idleSince() int64       { return i.since.Load() }

// admit counts a new connection, and returns false when there are too many. The
// caller holds s.mu.
func (s *Server) admit(c tracked) bool {
	if limit := s.MaxConnections; limit > 0 && int64(len(s.conns)) >= limit && !s.makeRoom() {
		return false
	}
	s.conns[c] = struct{}{}
	s.count()
	return true
}

// makeRoom closes an idle connection. The caller holds s.mu.
func (s *Server) makeRoom() bool {
	var longest tracked
	oldest := time.Now().Add(-minIdle).UnixNano()
	looked := 0
	for c := range s.conns { // in random order
		if since := c.idleSince(); since != 0 && since < oldest {
			longest, oldest = c, since
		}
		if looked++; looked == sampled {
			break
		}
	}
	if longest == nil {
		return false
	}
	delete(s.conns, longest)
	longest.evict()
	s.Metrics.Evicted.Inc()
	return true
}

// forget stops counting a connection that has ended.
func (s *Server) forget(c tracked) {
	s.mu.Lock()
	delete(s.conns, c)
	s.count()
	s.mu.Unlock()
}

// replace counts a connection that net/http takes over, in place of ours.
func (s *Server) replace(c, by tracked) {
	s.mu.Lock()
	if _, counted := s.conns[c]; counted { // otherwise it was closed to make room
		delete(s.conns, c)
		s.conns[by] = struct{}{}
	}
	s.mu.Unlock()
}

func (s *Server) count() { s.Metrics.Connections.Set(float64(len(s.conns))) }

// turnAway answers 503 to a connection for which there is no room, and closes it.
func (s *Server) turnAway(nc net.Conn) {
	defer nc.Close()
	s.Metrics.TurnedAway.Inc()
	s.crowded.Note(func(count int) {
		s.Log.Warn("Connection refused, there are as many as there may be (MAX_CONNECTIONS)", "count", count)
	})
	select {
	case s.turnedAway <- struct{}{}:
	default:
		return
	}
	defer func() { <-s.turnedAway }()
	r := RetryLater("too many connections")
	now := time.Now()
	nc.SetWriteDeadline(now.Add(turnAwayFor))
	if r.writeTo(nc, true, now) != nil {
		return
	}
	if half, ok := nc.(closeWriter); ok {
		_ = half.CloseWrite() // if it fails the sender is gone, and the read below ends
	}
	nc.SetReadDeadline(time.Now().Add(turnAwayFor))
	io.CopyN(io.Discard, nc, headSize) // closing with unread bytes would reset the connection
}

type closeWriter interface{ CloseWrite() error }
