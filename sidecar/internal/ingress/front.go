package ingress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// Front is the public listener. Plain webhooks, which are nearly all there is,
// are read and answered by its own loop (fast.go) on one goroutine per
// connection. A connection that brings anything else is handed over to net/http
// for the rest of its life, before a byte of the request has been consumed.
type Front struct {
	in   *Ingress
	http *http.Server

	crowded    reminder
	turnedAway chan struct{} // holds one for each connection that is being told 503

	mu      sync.Mutex
	conns   map[connection]struct{}
	closing bool
	serving sync.WaitGroup
}

// NewFront returns a front of in. rest takes what is not a plain webhook.
func NewFront(in *Ingress, rest *http.Server) *Front {
	rest.ConnContext = withFraming
	rest.ConnState = noteIdle
	return &Front{in: in, http: rest, conns: map[connection]struct{}{}, turnedAway: make(chan struct{}, maxTurnedAway)}
}

// Serve accepts connections until Shutdown or Close, and then returns
// http.ErrServerClosed.
func (f *Front) Serve(l net.Listener) error {
	rest := &handover{addr: l.Addr(), conns: make(chan net.Conn), done: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- f.http.Serve(rest) }()
	err := f.accept(l, rest)
	rest.Close()
	l.Close()
	return errors.Join(err, <-ended)
}

func (f *Front) accept(l net.Listener, rest *handover) error {
	stop := make(chan struct{})
	defer close(stop)
	go func() { // net/http's end is ours
		select {
		case <-rest.done:
			l.Close()
		case <-stop:
		}
	}()
	for wait := 5 * time.Millisecond; ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			wait = 5 * time.Millisecond
			f.start(nc, rest)
		case errors.Is(err, net.ErrClosed):
			return nil
		default: // out of file descriptors, say: others will be closed
			f.in.Log.Warn("Connection can't be accepted, retrying", "err", err)
			select {
			case <-rest.done:
				return nil
			case <-time.After(wait):
			}
			wait = min(2*wait, time.Second)
		}
	}
}

func (f *Front) start(nc net.Conn, rest *handover) {
	c := newFastConn(f, nc)
	f.mu.Lock()
	if f.closing {
		f.mu.Unlock()
		nc.Close()
		return
	}
	admitted := f.admit(c)
	f.serving.Add(1)
	f.mu.Unlock()
	go func() {
		defer f.serving.Done()
		if !admitted {
			readers.Put(c.br)
			f.turnAway(nc)
			return
		}
		if !f.serve(c) {
			f.forget(c)
			nc.Close()
			return
		}
		other := c.rest()
		f.replace(c, other)
		if !rest.take(other) {
			other.Close()
		}
	}()
}

// serve runs one connection. A panic costs that connection, as in net/http, not
// the replica.
func (f *Front) serve(c *fastConn) (handed bool) {
	defer func() {
		if fault := recover(); fault != nil {
			f.in.tellFault(fault)
			handed = false
		}
	}()
	return c.serve()
}

func (in *Ingress) tellFault(fault any) {
	in.Log.Error("Connection ended by a fault in the sidecar, please report it", "err", fault, "stack", string(debug.Stack()))
}

// Shutdown stops accepting, lets requests under way finish, and returns when
// they have or ctx ends; what is left then is cut by Close.
func (f *Front) Shutdown(ctx context.Context) error {
	f.mu.Lock()
	f.closing = true
	for c := range f.conns {
		if c, fast := c.(*fastConn); fast {
			c.stopWhenIdle()
		}
	}
	f.mu.Unlock()
	err := f.http.Shutdown(ctx)
	done := make(chan struct{})
	go func() { f.serving.Wait(); close(done) }()
	select {
	case <-done:
		return err
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}

// Close cuts every connection.
func (f *Front) Close() error {
	f.mu.Lock()
	f.closing = true
	for c := range f.conns {
		if c, fast := c.(*fastConn); fast {
			c.net.Close()
		}
	}
	f.mu.Unlock()
	return f.http.Close()
}

// handover is the listener from which net/http gets its connections.
type handover struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handover) take(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.done:
		return false
	}
}

func (h *handover) Close() error   { h.once.Do(func() { close(h.done) }); return nil }
func (h *handover) Addr() net.Addr { return h.addr }
