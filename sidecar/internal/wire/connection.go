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

// headSize bounds the head of a request that our own loop reads; net/http reads
// longer ones.
const headSize = 8 << 10

// connection is one connection of our own loop.
type connection struct {
	server *Server
	nc     net.Conn
	peer   string
	br     *bufio.Reader
	idle   // until a request begins to arrive, and again once it is answered
	stop   atomic.Bool

	// When the current deadlines were set; readSet is zero when the read deadline
	// is not that of IDLE_TIMEOUT.
	readSet, writeSet time.Time
}

// rearmAfter is how old a deadline may be and still serve the next request.
// Setting one for each request costs as much as reading a head.
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

// release gives the reader back. The connection must not read afterwards.
func (c *connection) release() { readers.Put(c.br) }

// serve answers plain requests until the connection ends (false) or brings
// another kind of request, which it leaves unread for net/http (true).
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
		if c.stop.Load() { // Shutdown sets it before its deadline, which limitIdle may just have overwritten
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
		_, _ = c.br.Discard(len(head)) // cannot fail: all of it is buffered
		if !c.answer(q) {
			return false
		}
	}
}

// limitIdle ends the wait for a request at IDLE_TIMEOUT, up to a tenth of it early.
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

// head returns the next request's head without consuming it. When head is nil,
// ok says whether net/http should read the request (the head is too long or not
// plain); otherwise the connection has ended.
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

// answer reads the body, calls the endpoint and writes its reply. It returns
// false when the connection can't be used again.
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
	closing := q.close || c.stop.Load() || s.Draining()
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
		_ = half.CloseWrite() // if it fails the sender is gone, and the read below ends
	}
	c.server.linger(c.nc, c.nc.SetReadDeadline)
}

// stopWhenIdle ends the connection as soon as it has no request.
func (c *connection) stopWhenIdle() {
	c.stop.Store(true)
	if c.isIdle() {
		c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

func (c *connection) evict() { c.stopWhenIdle() }

// handOver returns the connection for net/http, with the bytes that were read but
// not consumed.
func (c *connection) handOver() *handedOver {
	c.nc.SetReadDeadline(time.Time{})
	return &handedOver{Conn: c.nc, server: c.server, br: c.br}
}
