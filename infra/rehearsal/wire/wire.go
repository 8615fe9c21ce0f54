// Package wire is the way between two processes of a rehearsal, where a run can
// disturb it: a TCP proxy that cuts connections, delays what they carry, or
// swallows the answers.
//
// It owns one port and the connections through it. It must never change a byte
// or the order of bytes, nor look at what they mean. Package chaos puts one on
// each wire of a replica.
package wire

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sluice/infra/ports"
)

const dialLimit = 2 * time.Second

// Fault is what is wrong with a wire.
type Fault struct {
	Delay time.Duration // of each burst of bytes, either way
	// Drop swallows what the server says, and cuts the connection Hold after
	// the first of it: what was asked for has been done, and its answer is lost.
	Drop bool
	Hold time.Duration
}

// Wire is one proxy. Its methods are safe for concurrent use.
type Wire struct {
	port  int
	fault atomic.Pointer[Fault]
	work  sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil while connections are refused
	pairs    map[*pair]struct{}
	closed   bool
}

// New returns a wire that refuses connections until Up. The caller ends it with
// Close.
func New() (*Wire, error) {
	port, err := ports.Free()
	if err != nil {
		return nil, fmt.Errorf("open wire: %w", err)
	}
	return &Wire{port: port, pairs: map[*pair]struct{}{}}, nil
}

// Addr is where the wire listens while it is up.
func (w *Wire) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(w.port)) }

// Up takes connections to the target (host:port).
func (w *Wire) Up(target string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", w.Addr())
	if err != nil {
		return fmt.Errorf("open wire: %w", err)
	}
	w.listener = l
	w.work.Go(func() { w.accept(l, target) })
	return nil
}

// Down refuses connections, as a port does on which nobody listens. Those that
// there are go on.
func (w *Wire) Down() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down()
}

func (w *Wire) down() {
	if w.listener != nil {
		_ = w.listener.Close() // it can only be closed already
		w.listener = nil
	}
}

// Disturb applies the fault to what passes from now on, in place of any other.
func (w *Wire) Disturb(f Fault) { w.fault.Store(&f) }

// Mend ends the fault.
func (w *Wire) Mend() { w.fault.Store(nil) }

// Cut resets every connection and returns how many there were.
func (w *Wire) Cut() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p := range w.pairs {
		p.cut()
	}
	return len(w.pairs)
}

// Close ends the wire and waits for its goroutines.
func (w *Wire) Close() {
	w.mu.Lock()
	w.closed = true
	w.down()
	for p := range w.pairs {
		p.cut()
	}
	w.mu.Unlock()
	w.work.Wait()
}

func (w *Wire) accept(l net.Listener, target string) {
	for {
		client, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			continue // of this one connection
		}
		w.work.Go(func() { w.serve(client.(*net.TCPConn), target) })
	}
}

// serve connects a client to the target; without one it is reset.
func (w *Wire) serve(client *net.TCPConn, target string) {
	server, err := net.DialTimeout("tcp", target, dialLimit)
	if err != nil {
		reset(client)
		return
	}
	p := &pair{wire: w, client: client, server: server.(*net.TCPConn), ended: make(chan struct{})}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		p.cut()
		return
	}
	w.pairs[p] = struct{}{}
	w.mu.Unlock()
	p.run()
	w.mu.Lock()
	delete(w.pairs, p)
	w.mu.Unlock()
}

// reset closes a connection so that the other side learns of it at once and as
// an error.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // both fail on a closed connection only
	_ = c.Close()
}
