package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// network joins hosts in memory. A connection has delays, ends when one of its
// hosts dies, and stands still while one of them does.
type network struct {
	mu        sync.Mutex
	listeners map[string]*listener
}

// host is a process as the network sees it.
type host struct {
	name string
	dice *dice

	mu      sync.Mutex
	dead    bool
	stalled time.Time // nothing of it moves before
	conns   map[*conn]bool
}

func newHost(seed uint64, name string) *host {
	return &host{name: name, dice: newDice(seed, "host/"+name), conns: map[*conn]bool{}}
}

func (h *host) stall() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Until(h.stalled)
}

func (h *host) isDead() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dead
}

// pause stops whatever goes in or out for a while, as if the process stood
// still: a goroutine that goes on meanwhile has no effect until it is over.
func (h *host) pause(d time.Duration) {
	h.mu.Lock()
	h.stalled = time.Now().Add(d)
	h.mu.Unlock()
}

// wait returns when the host moves.
func (h *host) wait() {
	for d := h.stall(); d > 0; d = h.stall() {
		sleep(d + h.dice.between(0, time.Millisecond))
	}
}

// kill ends every connection of the host; it opens none any more.
func (h *host) kill(n *network) {
	h.mu.Lock()
	h.dead = true
	h.mu.Unlock()
	h.cut()
	n.mu.Lock()
	var mine []*listener
	for _, l := range n.listeners {
		if l.host == h {
			mine = append(mine, l)
		}
	}
	n.mu.Unlock()
	for _, l := range mine {
		l.Close()
	}
}

// cut breaks every connection that the host has.
func (h *host) cut() {
	h.mu.Lock()
	var cut []*conn
	for c := range h.conns {
		cut = append(cut, c)
	}
	h.mu.Unlock()
	for _, c := range cut {
		c.reset()
	}
}

func (h *host) lag() time.Duration { return h.dice.between(50*time.Microsecond, time.Millisecond) }

// listener takes connections for one address.
type listener struct {
	net   *network
	host  *host
	addr  string
	conns chan *conn
	done  chan struct{}
	once  sync.Once
}

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

func (n *network) listen(h *host, addr string) (*listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[addr] != nil {
		return nil, fmt.Errorf("listen %s: %w", addr, syscall.EADDRINUSE)
	}
	l := &listener{net: n, host: h, addr: addr, conns: make(chan *conn, 1024), done: make(chan struct{})}
	n.listeners[addr] = l
	return l, nil
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	case c := <-l.conns:
		l.host.wait()
		return c, nil
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		if l.net.listeners[l.addr] == l {
			delete(l.net.listeners, l.addr)
		}
		l.net.mu.Unlock()
		close(l.done)
		for {
			select {
			case c := <-l.conns:
				c.reset()
			default:
				return
			}
		}
	})
	return nil
}

func (l *listener) Addr() net.Addr { return address(l.addr) }

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

// dial connects a host to an address.
func (n *network) dial(ctx context.Context, from *host, addr string) (net.Conn, error) {
	from.wait()
	if err := waitCtx(ctx, from.lag()); err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	n.mu.Lock()
	l := n.listeners[addr]
	n.mu.Unlock()
	if l == nil || from.isDead() || l.host.isDead() {
		return nil, errRefused
	}
	a, b := &conn{local: from, remote: l.host, addr: address(addr)}, &conn{local: l.host, remote: from, addr: address(from.name + ":1")}
	a.peer, b.peer = b, a
	a.in.cond.L, b.in.cond.L = &a.in.mu, &b.in.mu
	if !from.add(a) || !l.host.add(b) {
		a.reset()
		return nil, errRefused
	}
	select {
	case <-l.done:
	case l.conns <- b:
		return a, nil
	}
	a.reset()
	return nil, errRefused
}

func (h *host) add(c *conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dead {
		return false
	}
	h.conns[c] = true
	return true
}

func (h *host) remove(c *conn) {
	h.mu.Lock()
	delete(h.conns, c)
	h.mu.Unlock()
}

func waitCtx(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

var errReset = errors.New("connection reset by peer")

// conn is one end of a connection.
type conn struct {
	local, remote *host
	addr          address
	peer          *conn
	in            inbox
	// sent is told of what is written, before it is under way; nil for nobody.
	sent func([]byte)

	mu     sync.Mutex
	closed bool
	write  time.Time // deadline
}

// inbox is what has arrived at one end, and what is under way to it.
type inbox struct {
	mu       sync.Mutex
	cond     sync.Cond
	under    []parcel // under way, in order
	newest   time.Time
	buf      []byte
	end      error // after buf
	deadline time.Time
	timer    *time.Timer
}

type parcel struct {
	bytes []byte
	end   error
}

// deliver sends a parcel on its way to c.
func (c *conn) deliver(p parcel) {
	b := &c.in
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	at := now.Add(c.remote.lag())
	if !at.After(b.newest) {
		at = b.newest.Add(1)
	}
	b.newest = at
	b.under = append(b.under, p)
	time.AfterFunc(at.Sub(now), c.arrive)
}

// arrive takes the first parcel under way, however late it is.
func (c *conn) arrive() {
	// A killed host's parcels that are under way still arrive.
	if d := max(c.remote.stall(), c.local.stall()); d > 0 {
		time.AfterFunc(d+c.local.lag(), c.arrive)
		return
	}
	b := &c.in
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.under) == 0 {
		return
	}
	p := b.under[0]
	b.under = b.under[1:]
	if b.end == nil {
		b.buf = append(b.buf, p.bytes...)
		b.end = p.end
	}
	b.cond.Broadcast()
}

func (c *conn) Read(p []byte) (int, error) {
	b := &c.in
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		if c.isClosed() {
			return 0, net.ErrClosed
		}
		if !b.deadline.IsZero() && !time.Now().Before(b.deadline) {
			return 0, &net.OpError{Op: "read", Net: "tcp", Err: errDeadline{}}
		}
		if len(b.buf) > 0 {
			n := copy(p, b.buf)
			b.buf = b.buf[n:]
			return n, nil
		}
		if b.end != nil {
			return 0, b.end
		}
		b.cond.Wait()
	}
}

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	switch {
	case c.closed:
		c.mu.Unlock()
		return 0, net.ErrClosed
	case !c.write.IsZero() && !time.Now().Before(c.write):
		c.mu.Unlock()
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: errDeadline{}}
	}
	c.mu.Unlock()
	if c.sent != nil {
		c.sent(p)
	}
	if c.peer.isClosed() {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: errReset}
	}
	c.peer.deliver(parcel{bytes: append([]byte(nil), p...)})
	return len(p), nil
}

func (c *conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Close ends this end; the other one reads what is under way and then the end.
func (c *conn) Close() error {
	if c.shut() {
		c.peer.deliver(parcel{end: io.EOF})
	}
	return nil
}

// reset breaks the connection at this end, and the other one hears of it.
func (c *conn) reset() {
	if c.shut() {
		c.peer.deliver(parcel{end: errReset})
	}
}

func (c *conn) shut() bool {
	c.mu.Lock()
	was := c.closed
	c.closed = true
	c.mu.Unlock()
	c.local.remove(c)
	c.in.mu.Lock()
	if c.in.timer != nil {
		c.in.timer.Stop()
	}
	c.in.cond.Broadcast()
	c.in.mu.Unlock()
	return !was
}

func (c *conn) LocalAddr() net.Addr  { return address(c.local.name + ":0") }
func (c *conn) RemoteAddr() net.Addr { return c.addr }

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetWriteDeadline(t)
	return c.SetReadDeadline(t)
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write = t
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	b := &c.in
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	switch wait := time.Until(t); {
	case t.IsZero():
	case wait <= 0:
		b.cond.Broadcast()
	default:
		b.timer = time.AfterFunc(wait, func() {
			b.mu.Lock()
			b.cond.Broadcast()
			b.mu.Unlock()
		})
	}
	return nil
}

// SyscallConn lets upstream ask whether an idle connection is still open, which
// it does by looking at its socket: it is shown one that looks like this end.
func (c *conn) SyscallConn() (syscall.RawConn, error) { return looks{c}, nil }

type looks struct{ *conn }

func (l looks) Read(f func(fd uintptr) bool) error {
	b := &l.in
	b.mu.Lock()
	idle := len(b.buf) == 0 && b.end == nil
	b.mu.Unlock()
	if idle && !l.isClosed() {
		f(sockets.idle)
	} else {
		f(sockets.ended)
	}
	return nil
}

func (looks) Write(func(uintptr) bool) error { return syscall.ENOTSUP }
func (looks) Control(func(uintptr)) error    { return syscall.ENOTSUP }

// sockets are two real ones: on the first nothing has come, the other one's peer
// has closed.
var sockets = func() (s struct{ idle, ended uintptr }) {
	for _, fd := range []*uintptr{&s.idle, &s.ended} {
		pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			panic(err)
		}
		*fd = uintptr(pair[0])
		if fd == &s.ended {
			_ = syscall.Close(pair[1])
		}
	}
	return s
}()

// errDeadline is os.ErrDeadlineExceeded as the network gives it.
type errDeadline struct{}

func (errDeadline) Error() string   { return "i/o timeout" }
func (errDeadline) Timeout() bool   { return true }
func (errDeadline) Temporary() bool { return true }
func (errDeadline) Is(err error) bool {
	return err == os.ErrDeadlineExceeded
}
