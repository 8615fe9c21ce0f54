package ingress

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// The public listener has at most MAX_CONNECTIONS connections. At the limit it
// goes on accepting: a sender that waits in the kernel's queue runs into its own
// timeout without a word, and so would a health check. The connection that has
// been idle longest makes room; if none is idle, the new one gets 503. Probes
// have a listener of their own.

const (
	// minIdle is how long a connection has been idle at least before it makes
	// room: the first request of a new one may still be under way.
	minIdle = time.Second
	// sampled is how many connections are looked at for an idle one. Looking at
	// all of them for each new one would be what a flood wants.
	sampled = 64
	// maxTurnedAway is how many connections are told 503 at one time; beyond it
	// they are closed without a word.
	maxTurnedAway = 100
	turnAwayFor   = time.Second // for such a sender to take its answer
)

// idle says since when a connection has been between two requests.
type idle struct{ since atomic.Int64 } // UnixNano, 0 during a request

func (i *idle) idleFrom(now time.Time) { i.since.Store(now.UnixNano()) }
func (i *idle) busy()                  { i.since.Store(0) }
func (i *idle) isIdle() bool           { return i.since.Load() != 0 }
func (i *idle) idleSince() int64       { return i.since.Load() }

// connection is one of the public listener, in either loop.
type connection interface {
	idleSince() int64 // UnixNano, 0 during a request
	evict()           // ends it, unless a request has begun meanwhile
}

// admit counts a new connection, and returns false when there are too many. The
// caller holds f.mu.
func (f *Front) admit(c connection) bool {
	if limit := f.in.Config.MaxConnections; limit > 0 && int64(len(f.conns)) >= limit && !f.makeRoom() {
		return false
	}
	f.conns[c] = struct{}{}
	f.count()
	return true
}

// makeRoom ends a connection that is idle. The caller holds f.mu.
func (f *Front) makeRoom() bool {
	var longest connection
	oldest := time.Now().Add(-minIdle).UnixNano()
	looked := 0
	for c := range f.conns { // in no order
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
	delete(f.conns, longest)
	longest.evict()
	f.in.Metrics.Evicted.Inc()
	return true
}

// forget ends the count of a connection that has ended.
func (f *Front) forget(c connection) {
	f.mu.Lock()
	delete(f.conns, c)
	f.count()
	f.mu.Unlock()
}

// replace counts a connection that goes on in the other loop.
func (f *Front) replace(c, by connection) {
	f.mu.Lock()
	if _, counted := f.conns[c]; counted { // else it has made room, and ends
		delete(f.conns, c)
		f.conns[by] = struct{}{}
	}
	f.mu.Unlock()
}

func (f *Front) count() { f.in.Metrics.Connections.Set(float64(len(f.conns))) }

// turnAway answers a connection for which there is no room, and ends it.
func (f *Front) turnAway(nc net.Conn) {
	defer nc.Close()
	f.in.Metrics.TurnedAway.Inc()
	f.crowded.note(func(count int) {
		f.in.Log.Warn("Connection refused, there are as many as there may be (MAX_CONNECTIONS)", "count", count)
	})
	select {
	case f.turnedAway <- struct{}{}:
	default:
		return
	}
	defer func() { <-f.turnedAway }()
	r := retryLater("too many connections")
	if r.writeTo(nc, true) != nil {
		return
	}
	if half, ok := nc.(closeWriter); ok {
		_ = half.CloseWrite() // a sender that is gone ends the reading, too
	}
	nc.SetReadDeadline(time.Now().Add(turnAwayFor))
	io.CopyN(io.Discard, nc, headSize) // closed with unread bytes it would be reset
}

type closeWriter interface{ CloseWrite() error }
