package relay

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// burst is the silence that separates two bursts of bytes. Each burst is delayed
// once, so that a large body is not delayed piece by piece.
const burst = 5 * time.Millisecond

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// pair is one connection: the client's half and the server's.
type pair struct {
	relay          *Relay
	client, server *net.TCPConn
	ended          chan struct{} // closed by cut
	once           sync.Once
}

// run carries bytes both ways until both have ended.
func (p *pair) run() {
	var asking sync.WaitGroup
	asking.Go(func() { p.carry(p.server, p.client, false) })
	p.carry(p.client, p.server, true)
	asking.Wait()
	p.close(p.client.Close, p.server.Close)
}

// cut resets both halves.
func (p *pair) cut() {
	p.close(func() error { reset(p.client); return nil }, func() error { reset(p.server); return nil })
}

func (p *pair) close(client, server func() error) {
	p.once.Do(func() {
		close(p.ended)
		_ = client() // nobody is left to tell
		_ = server()
	})
}

// carry copies one direction to its end. answers is true for the bytes that the
// server sends.
func (p *pair) carry(to, from *net.TCPConn, answers bool) {
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	b := *pooled
	var last time.Time
	for {
		n, err := from.Read(b)
		if n > 0 {
			if f := p.relay.fault.Load(); f != nil {
				if f.Drop && answers {
					p.wait(f.Hold)
					p.cut()
					return
				}
				if now := time.Now(); now.Sub(last) > burst {
					p.wait(f.Delay)
				}
			}
			if _, err := to.Write(b[:n]); err != nil {
				p.cut()
				return
			}
			if p.relay.fault.Load() != nil {
				last = time.Now()
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			if to.CloseWrite() != nil {
				p.cut()
			}
			return
		default:
			p.cut()
			return
		}
	}
}

// wait waits for d or until the pair is cut.
func (p *pair) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.ended:
	}
}
