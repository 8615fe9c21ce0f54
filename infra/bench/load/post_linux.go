package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
	"unsafe"
)

// post serves all connections from one goroutine with epoll(7). A goroutine for
// each connection would use about as much CPU as the sending itself, and the
// receivers under test need that CPU.
func post(ctx context.Context, spec Spec, to Target) (*Result, error) {
	p := &poller{events: make([]syscall.EpollEvent, max(to.Connections, 1)), buf: make([]byte, 4096)}
	defer p.close()
	if err := p.open(ctx, to); err != nil {
		return nil, err
	}
	if spec.Rate > 0 {
		return work(ctx, spec, []worker{p.runOpen})
	}
	return work(ctx, spec, []worker{p.run})
}

// poller is the connections of one target.
type poller struct {
	epoll  int
	socks  []*sock
	events []syscall.EpollEvent
	buf    []byte
	busy   int   // connections whose answer is awaited
	idle   []int // connections without one, in an open loop
}

// sock is one connection: a socket that never blocks.
type sock struct {
	fd int
	*exchanges
	unsent  []byte        // of the request
	writing bool          // epoll tells when more of it may be written
	due     time.Duration // since the run began, in an open loop
}

func (p *poller) open(ctx context.Context, to Target) (err error) {
	if p.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		p.epoll = -1
		return fmt.Errorf("create epoll: %w", err)
	}
	for i := range to.Connections {
		conn, err := dial(ctx, to)
		if err != nil {
			return err
		}
		fd, err := detach(conn)
		if err != nil {
			return fmt.Errorf("take socket: %w", err)
		}
		p.socks = append(p.socks, &sock{fd: fd, exchanges: newExchanges(to, i)})
		if err := p.watch(syscall.EPOLL_CTL_ADD, i, syscall.EPOLLIN); err != nil {
			return err
		}
	}
	return nil
}

// detach takes a connection's socket from the Go runtime, which would wake a
// goroutine for each answer.
func detach(conn net.Conn) (fd int, err error) {
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	var dupErr error
	err = raw.Control(func(of uintptr) {
		if fd, dupErr = syscall.Dup(int(of)); dupErr == nil {
			syscall.CloseOnExec(fd)
		}
	})
	return fd, errors.Join(err, dupErr)
}

func (p *poller) watch(op, i int, events uint32) error {
	event := syscall.EpollEvent{Events: events, Fd: int32(i)}
	if err := syscall.EpollCtl(p.epoll, op, p.socks[i].fd, &event); err != nil {
		return fmt.Errorf("watch connection: %w", err)
	}
	return nil
}

func (p *poller) close() {
	for _, s := range p.socks {
		syscall.Close(s.fd)
	}
	if p.epoll >= 0 {
		syscall.Close(p.epoll)
	}
}

const pollLimit = 20 // ms, after which the context is checked; garbage collection may have to wait as long

// run is the worker with all connections.
func (p *poller) run(ctx context.Context, r *run, t *tally) error {
	for i := range p.socks {
		if err := p.send(i, r); err != nil {
			return err
		}
	}
	for p.busy > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := p.wait()
		if err != nil {
			return fmt.Errorf("wait for answers: %w", err)
		}
		for _, event := range p.events[:n] {
			if err := p.serve(int(event.Fd), r, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// wait waits for events. It does not tell the runtime that it blocks: the
// runtime's monitor thread would check on it every 20 µs, which took a seventh of
// the sender's time. Nothing else has to run on this thread meanwhile.
func (p *poller) wait() (n int, err error) {
	got, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.epoll),
		uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), pollLimit, 0, 0)
	if errno == syscall.EINTR {
		return 0, nil
	}
	if errno != 0 {
		return 0, errno
	}
	return int(got), nil
}

// serve writes and reads on a connection as far as possible without waiting.
func (p *poller) serve(i int, r *run, t *tally) error {
	s := p.socks[i]
	if len(s.unsent) > 0 {
		if err := p.write(i); err != nil {
			return err
		}
	}
	n, err := syscall.Read(s.fd, p.buf)
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		return nil
	case err == nil && n == 0:
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	whole, err := s.receive(p.buf[:n])
	if !whole || err != nil {
		return err
	}
	if len(s.unsent) > 0 {
		return errors.New("answered before the request was sent whole")
	}
	p.busy--
	if r.spec.Rate > 0 {
		r.countDue(t, s.due)
		p.idle = append(p.idle, i)
		return nil
	}
	r.count(t, time.Since(s.sent))
	return p.send(i, r)
}

// send sends the next request, if any is left.
func (p *poller) send(i int, r *run) error {
	if !r.more() {
		return nil
	}
	p.busy++
	p.socks[i].unsent = p.socks[i].begin()
	return p.write(i)
}

func (p *poller) write(i int) error {
	s := p.socks[i]
	n, err := syscall.Write(s.fd, s.unsent)
	if err != nil && !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR) {
		return fmt.Errorf("write request: %w", err)
	}
	s.unsent = s.unsent[max(n, 0):]
	if more := len(s.unsent) > 0; more != s.writing {
		s.writing = more
		events := uint32(syscall.EPOLLIN)
		if more {
			events |= syscall.EPOLLOUT
		}
		return p.watch(syscall.EPOLL_CTL_MOD, i, events)
	}
	return nil
}
