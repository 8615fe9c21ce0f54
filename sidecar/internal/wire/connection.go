package wire

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// headSize bounds the head of a request that this package's own loop takes; a
// longer one is net/http's.
const headSize = 8 << 10

// connection is one connection of this package's own loop.
type connection struct {
	server *Server
	nc     net.Conn
	peer   string
	br     *bufio.Reader
	idle   // until a request begins to arrive, and again once it is answered
	stop   atomic.Bool

	// When the deadlines that stand were set, zero for a read deadline that is
	// not IDLE_TIMEOUT's.
	readSet, writeSet time.Time
}

// rearmAfter is how old a deadline may be when it serves for the next request as
// well. Setting one for each costs as much as reading a head.
const rearmAfter = time.Second

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, headSize) }}

func newConnection(s *Server, nc net.Conn) *connection {
	peer, _, _ := net.SplitHostPort(nc.RemoteAddr().String())
	br := readers.Get().(*bufio.Reader)
	br.Reset(nc)
	c := &connection{server: s, nc: nc, peer: peer, br: br}
	c.idleFrom(time.Now())
	return c
}

// release gives the reader back. The connection reads no more after it.
func (c *connection) release() { readers.Put(c.br) }

// serve answers plain requests until the connection ends (false) or brings
// something else, which it leaves unread (true).
func (c *connection) serve() (handOver bool) {
	defer func() {
		if !handOver {
			c.release()
		}
	}()
	s := c.server
	for {
		now := time.Now()
		c.idleFrom(now)
		c.limitIdle(now)
		if c.stop.Load() { // set before Shutdown's deadline, which this one may have undone
			return false
		}
		if _, err := c.br.Peek(1); err != nil {
			return false
		}
		c.busy()
		head, whole := c.head()
		if head == nil {
			return whole
		}
		q, plain := parse(head, c.peer, s.handler, s.MaxBodyBytes)
		if !plain && framedTwice(head) {
			c.refuse(Text(400, "both a length and a transfer coding"))
			return false
		}
		if !plain {
			return true
		}
		_, _ = c.br.Discard(len(head)) // all of it is buffered
		if !c.answer(q) {
			return false
		}
	}
}

// limitIdle has the reading end at IDLE_TIMEOUT, up to a tenth of it early.
func (c *connection) limitIdle(now time.Time) {
	if now.Sub(c.readSet) < min(rearmAfter, c.server.IdleTimeout/10) {
		return
	}
	c.nc.SetReadDeadline(now.Add(c.server.IdleTimeout))
	c.readSet = now
}

// limitWrite bounds the writing of an answer.
func (c *connection) limitWrite(now time.Time) {
	if now.Sub(c.writeSet) < rearmAfter {
		return
	}
	c.nc.SetWriteDeadline(now.Add(writeTimeout))
	c.writeSet = now
}

// head returns the next request's head without consuming it, or nil: then ok
// says whether net/http should have a look (it is longer than the buffer).
func (c *connection) head() (head []byte, ok bool) {
	limited := false
	for from := 0; ; {
		b, _ := c.br.Peek(c.br.Buffered())
		if i := bytes.Index(b[from:], []byte("\r\n\r\n")); i >= 0 {
			return b[:from+i+4], true
		}
		if len(b) >= headSize || !mayBePlain(b) || bareLF(b[from:]) {
			return nil, true
		}
		from = max(0, len(b)-3)
		if !limited {
			limited = true
			c.readSet = time.Time{}
			c.nc.SetReadDeadline(time.Now().Add(c.server.HeaderTimeout))
		}
		if _, err := c.br.Peek(len(b) + 1); err != nil {
			return nil, false
		}
	}
}

// answer reads the body, has the endpoint answer and writes the reply. It
// returns false when the connection can't be used again.
func (c *connection) answer(q plainRequest) bool {
	s := c.server
	started := time.Now()
	p := newPace(c.nc, s.BodyMinRate, started.Add(s.BodyTimeout))
	b, err := s.memory.read(context.Background(), c.br, &p, q.length, s.MaxBodyBytes)
	if p.begun() {
		c.readSet = time.Time{}
	}
	if err != nil {
		c.refuse(q.endpoint.Refuse(err))
		return false
	}
	defer b.free()
	r := q.endpoint.Serve(context.Background(), q.head, b)
	defer r.end()
	closing := q.close || c.stop.Load()
	now := time.Now()
	c.limitWrite(now)
	err = r.writeTo(c.nc, closing, now)
	s.Metrics.Seconds.Observe(now.Sub(started).Seconds())
	return err == nil && !closing
}

// refuse answers a request that was not read to its end.
func (c *connection) refuse(r Reply) {
	now := time.Now()
	c.nc.SetWriteDeadline(now.Add(writeTimeout))
	if r.writeTo(c.nc, true, now) != nil {
		return
	}
	if half, ok := c.nc.(closeWriter); ok {
		_ = half.CloseWrite() // if the sender is gone, reading ends as well
	}
	c.server.linger(c.nc, c.nc.SetReadDeadline)
}

// stopWhenIdle ends the connection once it is between two requests.
func (c *connection) stopWhenIdle() {
	c.stop.Store(true)
	if c.isIdle() {
		c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

func (c *connection) evict() { c.stopWhenIdle() }

// handOver returns the connection with what has been read of it and not consumed.
func (c *connection) handOver() *handedOver {
	c.nc.SetReadDeadline(time.Time{})
	return &handedOver{Conn: c.nc, server: c.server, br: c.br}
}
