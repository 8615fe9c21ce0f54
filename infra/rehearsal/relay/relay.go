// Package relay is a TCP proxy between two processes of a rehearsal. On request
// it cuts connections, delays what they carry, or swallows the answers.
//
// It owns one port and the connections through it. It must never change a byte
// or the order of bytes, nor look at what they mean. Package chaos puts one on
// each wire of a replica.
package relay

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

// Fault is what a relay does wrong.
type Fault struct {
	Delay time.Duration // of each burst of bytes, either way
	// Drop swallows the server's answer and cuts the connection Hold after the
	// first byte of it: the server has done its work, and the answer is lost.
	Drop bool
	Hold time.Duration
}

// Relay is one proxy. Its methods are safe for concurrent use.
type Relay struct {
	port  int
	fault atomic.Pointer[Fault]
	work  sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil while connections are refused
	pairs    map[*pair]struct{}
	closed   bool
}

// New returns a relay that refuses connections until Up. The caller ends it with
// Close.
func New() (*Relay, error) {
	port, err := ports.Free()
	if err != nil {
		return nil, fmt.Errorf("open relay: %w", err)
	}
	return &Relay{port: port, pairs: map[*pair]struct{}{}}, nil
}

// Addr is where the relay listens while it is up.
func (r *Relay) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }

// Up takes connections to the target (host:port).
func (r *Relay) Up(target string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", r.Addr())
	if err != nil {
		return fmt.Errorf("open relay: %w", err)
	}
	r.listener = l
	r.work.Go(func() { r.accept(l, target) })
	return nil
}

// Down refuses new connections, as a closed port does. Open connections go on.
func (r *Relay) Down() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down()
}

func (r *Relay) down() {
	if r.listener != nil {
		_ = r.listener.Close() // its only error: already closed
		r.listener = nil
	}
}

// Disturb applies the fault from now on and replaces any earlier one.
func (r *Relay) Disturb(f Fault) { r.fault.Store(&f) }

// Repair ends the fault.
func (r *Relay) Repair() { r.fault.Store(nil) }

// Cut resets every connection and returns how many there were.
func (r *Relay) Cut() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.pairs {
		p.cut()
	}
	return len(r.pairs)
}

// Close ends the relay and waits for its goroutines.
func (r *Relay) Close() {
	r.mu.Lock()
	r.closed = true
	r.down()
	for p := range r.pairs {
		p.cut()
	}
	r.mu.Unlock()
	r.work.Wait()
}

func (r *Relay) accept(l net.Listener, target string) {
	for {
		client, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			continue // it concerns this one connection
		}
		r.work.Go(func() { r.serve(client.(*net.TCPConn), target) })
	}
}

// serve connects a client to the target. It resets the client when the target
// does not answer.
func (r *Relay) serve(client *net.TCPConn, target string) {
	server, err := net.DialTimeout("tcp", target, dialLimit)
	if err != nil {
		reset(client)
		return
	}
	p := &pair{relay: r, client: client, server: server.(*net.TCPConn), ended: make(chan struct{})}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		p.cut()
		return
	}
	r.pairs[p] = struct{}{}
	r.mu.Unlock()
	p.run()
	r.mu.Lock()
	delete(r.pairs, p)
	r.mu.Unlock()
}

// reset closes a connection so that the other side gets an error at once.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // both fail only on a closed connection
	_ = c.Close()
}
