package ingress

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sluice/sidecar/internal/webhook"
)

// headSize bounds the head of a request that the fast loop takes; a longer one
// is net/http's.
const headSize = 8 << 10

// lingerFor is how long a refused sender may go on sending.
const lingerFor = 2 * time.Second

// fastConn is one connection of the fast loop.
type fastConn struct {
	front *Front
	net   net.Conn
	peer  string
	br    *bufio.Reader
	busy  atomic.Bool // a request has begun to arrive and is not answered yet
	stop  atomic.Bool
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, headSize) }}

func newFastConn(f *Front, nc net.Conn) *fastConn {
	peer, _, _ := net.SplitHostPort(nc.RemoteAddr().String())
	br := readers.Get().(*bufio.Reader)
	br.Reset(nc)
	return &fastConn{front: f, net: nc, peer: peer, br: br}
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
		c.net.SetReadDeadline(time.Now().Add(in.Config.IdleTimeout))
		if c.stop.Load() { // set before Shutdown's deadline, which this one may have undone
			return false
		}
		if _, err := c.br.Peek(1); err != nil {
			return false
		}
		c.busy.Store(true)
		head, whole := c.head()
		if head == nil {
			return whole
		}
		q, plain := in.parse(head, c.peer)
		if !plain {
			return true
		}
		c.br.Discard(len(head))
		if !c.answer(q) {
			return false
		}
		c.busy.Store(false)
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
		if len(b) >= headSize || !mayBePlain(b) {
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

// mayBePlain reports whether what has arrived can be the beginning of a POST.
func mayBePlain(b []byte) bool {
	const post = "POST /"
	n := min(len(b), len(post))
	return string(b[:n]) == post[:n]
}

// request is a plain webhook whose head has been read.
type request struct {
	route  *route
	head   webhook.Head
	length int64
	close  bool
}

// parse reads a head. It returns false for whatever is not a plain webhook in
// every respect: net/http decides about that, so that no two parsers have to
// agree on anything odd.
func (in *Ingress) parse(head []byte, peer string) (q request, plain bool) {
	line, fields, _ := bytes.Cut(head[:len(head)-2], crlf)
	target, ok := bytes.CutPrefix(line, []byte("POST "))
	if !ok {
		return q, false
	}
	if target, ok = bytes.CutSuffix(target, []byte(" HTTP/1.1")); !ok || !plainTarget(target) {
		return q, false
	}
	path, _, _ := bytes.Cut(target, []byte("?"))
	if q.route = in.route(string(path)); q.route == nil || string(path) == "/drain" {
		return q, false
	}
	host, ok := q.scan(fields)
	if !ok || q.length > in.Config.MaxBodyBytes {
		return q, false
	}
	c := webhook.Begin("POST", string(target), string(host), nil)
	for len(fields) > 0 {
		line, fields, _ = bytes.Cut(fields, crlf)
		c.Line(line[:bytes.IndexByte(line, ':')], line)
	}
	q.head = c.Finish(peer)
	return q, true
}

// scan checks every field and reads those that frame the request.
func (q *request) scan(fields []byte) (host []byte, ok bool) {
	q.length = -1
	for len(fields) > 0 {
		var line []byte
		line, fields, _ = bytes.Cut(fields, crlf)
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || !webhook.IsToken(line[:colon]) || !plainValue(line[colon+1:]) {
			return nil, false
		}
		name, value := line[:colon], bytes.Trim(line[colon+1:], " \t")
		switch len(name) {
		case 4:
			if bytes.EqualFold(name, []byte("host")) {
				if host != nil || len(value) == 0 || bytes.ContainsAny(value, " \t/?#@%") {
					return nil, false
				}
				host = value
			}
		case 14:
			if bytes.EqualFold(name, []byte("content-length")) {
				if q.length >= 0 || !q.setLength(value) {
					return nil, false
				}
			}
		case 10:
			if bytes.EqualFold(name, []byte("connection")) {
				q.close = q.close || bytes.EqualFold(value, []byte("close"))
				if !q.close && !bytes.EqualFold(value, []byte("keep-alive")) {
					return nil, false
				}
			}
		case 2, 6, 7, 17: // te, expect, trailer, upgrade, transfer-encoding
			if webhook.Stripped(string(name)) {
				return nil, false
			}
		}
	}
	return host, host != nil && q.length >= 0
}

func (q *request) setLength(digits []byte) bool {
	if len(digits) == 0 || len(digits) > 12 {
		return false
	}
	q.length = 0
	for _, d := range digits {
		if d < '0' || d > '9' {
			return false
		}
		q.length = q.length*10 + int64(d-'0')
	}
	return true
}

var crlf = []byte("\r\n")

// plainTarget reports whether t is an origin-form target that net/http would
// route by the very same bytes.
func plainTarget(t []byte) bool {
	if len(t) == 0 || t[0] != '/' {
		return false
	}
	path := true
	for _, b := range t {
		if b == '?' {
			path = false
		}
		if b <= ' ' || b >= 0x7f || b == '#' || path && b == '%' {
			return false
		}
	}
	return true
}

func plainValue(v []byte) bool {
	for _, b := range v {
		if b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return true
}

// answer reads the body, takes the webhook its way and writes the reply. It
// returns false when the connection can't be used again.
func (c *fastConn) answer(q request) bool {
	in := c.front.in
	started := time.Now()
	in.last.Store(started.UnixNano())
	if int64(c.br.Buffered()) < q.length {
		c.net.SetReadDeadline(started.Add(in.Config.BodyTimeout))
	}
	b, err := in.memory.read(context.Background(), c.br, q.length, in.Config.MaxBodyBytes)
	if err != nil {
		r := in.bodyReply(q.route, err)
		if r.writeTo(c.net, true) == nil {
			c.linger()
		}
		return false
	}
	r := in.take(context.Background(), q.route, q.head, b)
	closing := q.close || c.stop.Load()
	err = r.writeTo(c.net, closing)
	r.end()
	b.free()
	in.Metrics.Seconds.Observe(time.Since(started).Seconds())
	return err == nil && !closing
}

// linger reads on for a while after a refusal: closing with unread bytes resets
// the connection, and the sender would not see the answer.
func (c *fastConn) linger() {
	if tcp, ok := c.net.(*net.TCPConn); ok {
		tcp.CloseWrite()
	}
	c.net.SetReadDeadline(time.Now().Add(lingerFor))
	io.CopyN(io.Discard, c.net, c.front.in.Config.MaxBodyBytes)
}

// stopWhenIdle ends the connection once it is between two requests.
func (c *fastConn) stopWhenIdle() {
	c.stop.Store(true)
	if !c.busy.Load() {
		c.net.SetReadDeadline(time.Unix(1, 0))
	}
}

// rest returns the connection with what has been read of it and not consumed.
func (c *fastConn) rest() net.Conn {
	c.net.SetReadDeadline(time.Time{})
	return &restConn{Conn: c.net, br: c.br}
}

type restConn struct {
	net.Conn
	br *bufio.Reader
}

func (r *restConn) Read(p []byte) (int, error) {
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
