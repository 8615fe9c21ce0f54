package wire

import (
	"context"
	"errors"
	"net"
	"time"
)

// Serve accepts connections until Shutdown or Close, and then returns
// http.ErrServerClosed.
func (s *Server) Serve(l net.Listener) error {
	rest := &handover{addr: l.Addr(), conns: make(chan net.Conn), done: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- s.nethttp.Serve(rest) }()
	s.mu.Lock()
	s.listener = l
	s.mu.Unlock()
	err := s.accept(l, rest)
	if s.leaving.Load() { // the connections that it has are served on
		<-rest.done
	}
	rest.Close()
	l.Close()
	return errors.Join(err, <-ended)
}

func (s *Server) accept(l net.Listener, rest *handover) error {
	stop := make(chan struct{})
	defer close(stop)
	go func() { // when net/http stops, this listener stops
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
			s.start(nc, rest)
		case errors.Is(err, net.ErrClosed):
			return nil
		default: // for example out of file descriptors: some will be closed
			s.Log.Warn("Connection can't be accepted, retrying", "err", err)
			select {
			case <-rest.done:
				return nil
			case <-time.After(wait):
			}
			wait = min(2*wait, time.Second)
		}
	}
}

// start serves a connection on its own goroutine.
func (s *Server) start(nc net.Conn, rest *handover) {
	c := newConnection(s, nc)
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		nc.Close()
		return
	}
	admitted := s.admit(c)
	s.serving.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.serving.Done()
		switch {
		case !admitted:
			c.release()
			s.turnAway(nc)
		case s.serve(c):
			other := c.handOver()
			s.replace(c, other)
			if !rest.take(other) {
				other.Close()
			}
		default:
			s.forget(c)
			nc.Close()
		}
	}()
}

// serve runs one connection and reports whether net/http must continue it. A
// panic ends only that connection, as in net/http.
func (s *Server) serve(c *connection) (handOver bool) {
	if s.NetHTTP {
		return true
	}
	defer func() {
		if fault := recover(); fault != nil {
			s.logPanic(fault)
			handOver = false
		}
	}()
	return c.serve()
}

// StopAccepting leaves new connections to the next process that has the socket,
// and goes on serving those that are open until Shutdown.
func (s *Server) StopAccepting() {
	s.leaving.Store(true)
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	if l != nil {
		l.Close()
	}
}

// Shutdown stops accepting and waits until requests under way have finished or
// ctx ends. Close then cuts what is left.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for c := range s.conns {
		if c, ours := c.(*connection); ours {
			c.stopWhenIdle()
		}
	}
	s.mu.Unlock()
	err := s.nethttp.Shutdown(ctx)
	done := make(chan struct{})
	go func() { s.serving.Wait(); close(done) }()
	select {
	case <-done:
		return err
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}

// Close cuts every connection.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closing = true
	for c := range s.conns {
		if c, ours := c.(*connection); ours {
			c.nc.Close()
		}
	}
	s.mu.Unlock()
	return s.nethttp.Close()
}
