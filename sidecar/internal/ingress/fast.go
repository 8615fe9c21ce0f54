package ingress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// headSize bounds the head of a request that the fast loop takes; a longer one
// is net/http's.
const headSize = 8 << 10

// fastConn is one connection of the fast loop.
type fastConn struct {
	front *Front
	net   net.Conn
	peer  string
	br    *bufio.Reader
	idle  // ends when a request has begun to arrive, until it is answered
	stop  atomic.Bool
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, headSize) }}

func newFastConn(f *Front, nc net.Conn) *fastConn {
	peer, _, _ := net.SplitHostPort(nc.RemoteAddr().String())
	br := readers.Get().(*bufio.Reader)
	br.Reset(nc)
	c := &fastConn{front: f, net: nc, peer: peer, br: br}
	c.idleFrom(time.Now())
	return c
}

// serve answers plain webhooks until the connection ends (false) or brings
// something else, which it leaves unread (true).
func (c *fastConn) serve() (handover bool) {
	defer func() {
		if !handover {
			readers.Put(c.br)
		}
	}()
	in := c.front.in
	for {
		now := time.Now()
		c.idleFrom(now)
		c.net.SetReadDeadline(now.Add(in.Config.IdleTimeout))
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
		q, plain := in.parse(head, c.peer)
		if !plain && framedTwice(head) {
			c.refuse(textReply(400, "both a length and a transfer coding"))
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

// head returns the next request's head without consuming it, or nil: then ok
// says whether net/http should have a look (it is longer than the buffer).
func (c *fastConn) head() (head []byte, ok bool) {
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
			c.net.SetReadDeadline(time.Now().Add(c.front.in.Config.HeaderTimeout))
		}
		if _, err := c.br.Peek(len(b) + 1); err != nil {
			return nil, false
		}
	}
}

// bareLF reports whether a line ends without CR: then the head may be over
// already, by another reading than this loop's.
func bareLF(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return false
		}
		if i > 0 && b[i-1] != '\r' {
			return true
		}
		b = b[i+1:]
	}
}

// mayBePlain reports whether what has arrived can be the beginning of a POST.
func mayBePlain(b []byte) bool {
	const post = "POST /"
	n := min(len(b), len(post))
	return string(b[:n]) == post[:n]
}

// answer reads the body, takes the webhook its way and writes the reply. It
// returns false when the connection can't be used again.
func (c *fastConn) answer(q request) bool {
	in := c.front.in
	started := time.Now()
	in.last.Store(started.UnixNano())
	p := in.pace(c.net, started)
	b, err := in.memory.read(context.Background(), c.br, &p, q.length, in.Config.MaxBodyBytes)
	if err != nil {
		c.refuse(in.bodyReply(q.route, err))
		return false
	}
	defer b.free()
	r := in.take(context.Background(), q.route, q.head, b)
	defer r.end()
	closing := q.close || c.stop.Load()
	err = r.writeTo(c.net, closing)
	in.Metrics.Seconds.Observe(time.Since(started).Seconds())
	return err == nil && !closing
}

// refuse answers a request that was not read to its end.
func (c *fastConn) refuse(r reply) {
	if r.writeTo(c.net, true) != nil {
		return
	}
	if half, ok := c.net.(closeWriter); ok {
		_ = half.CloseWrite() // a sender that is gone ends the reading, too
	}
	c.front.in.linger(c.net, c.net.SetReadDeadline)
}

// stopWhenIdle ends the connection once it is between two requests.
func (c *fastConn) stopWhenIdle() {
	c.stop.Store(true)
	if c.isIdle() {
		c.net.SetReadDeadline(time.Unix(1, 0))
	}
}

func (c *fastConn) evict() { c.stopWhenIdle() }

// rest returns the connection with what has been read of it and not consumed.
func (c *fastConn) rest() *restConn {
	c.net.SetReadDeadline(time.Time{})
	return &restConn{Conn: c.net, front: c.front, br: c.br}
}

// restConn is a connection that net/http has for the rest of its life.
type restConn struct {
	net.Conn
	front   *Front
	idle    // as net/http tells
	br      *bufio.Reader
	framing framing
}

// noteIdle is told by net/http of every change of a connection.
func noteIdle(c net.Conn, state http.ConnState) {
	r, ok := c.(*restConn)
	switch {
	case !ok:
	case state == http.StateIdle:
		r.idleFrom(time.Now())
	default:
		r.busy()
	}
}

func (r *restConn) evict() { r.Conn.Close() } // net/http sees its reading end

func (r *restConn) Close() error {
	r.front.forget(r)
	return r.Conn.Close()
}

// CloseWrite ends the sending alone. net/http does that first where it closes
// with bytes unread, so that the sender sees its answer.
func (r *restConn) CloseWrite() error {
	if half, ok := r.Conn.(closeWriter); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (r *restConn) Read(p []byte) (int, error) {
	n, err := r.read(p)
	r.framing.see(p[:n])
	return n, err
}

func (r *restConn) read(p []byte) (int, error) {
	if r.br == nil {
		return r.Conn.Read(p)
	}
	if r.br.Buffered() == 0 {
		readers.Put(r.br)
		r.br = nil
		return r.Conn.Read(p)
	}
	return io.LimitReader(r.br, int64(r.br.Buffered())).Read(p)
}
