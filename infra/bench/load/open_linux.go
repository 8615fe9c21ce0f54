package load

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// runOpen is the worker with all connections in an open loop: each webhook goes
// out when it is due, or as soon after as a connection is free.
func (p *poller) runOpen(ctx context.Context, r *run, t *tally) error {
	runtime.LockOSThread()   // and never unlocked: the thread has its own timer slack
	const setTimerSlack = 29 // PR_SET_TIMERSLACK, in ns; the usual 50 µs are a part of what is measured
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, 1000, 0)
	for i := range p.socks {
		p.idle = append(p.idle, i)
	}
	for n := int64(0); ; {
		due := r.spec.due(n)
		if due >= r.spec.end() && p.busy == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		wait := pollLimit * time.Millisecond
		if len(p.idle) > 0 && due < r.spec.end() {
			wait = due - time.Since(r.begun)
			if wait <= 0 {
				n++
				if err := p.sendDue(due); err != nil {
					return err
				}
				continue
			}
		}
		if err := p.serveWithin(wait, r, t); err != nil {
			return err
		}
	}
}

// sendDue sends the next webhook over the connection that has been idle longest.
func (p *poller) sendDue(due time.Duration) error {
	i := p.idle[0]
	p.idle = append(p.idle[:0], p.idle[1:]...)
	p.busy++
	p.socks[i].due, p.socks[i].unsent = due, p.socks[i].begin()
	return p.write(i)
}

// serveWithin waits for answers, but not beyond the limit, and takes them.
// epoll_wait counts in milliseconds, which is longer than an answer takes, so
// ppoll waits.
func (p *poller) serveWithin(limit time.Duration, r *run, t *tally) error {
	fd := struct {
		fd              int32
		events, revents int16
	}{int32(p.epoll), 1 /* POLLIN */, 0}
	until := syscall.NsecToTimespec(int64(min(limit, pollLimit*time.Millisecond)))
	got, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&fd)), 1, uintptr(unsafe.Pointer(&until)), 0, 0, 0)
	if errno == syscall.EINTR || (errno == 0 && got == 0) {
		return nil
	}
	if errno != 0 {
		return fmt.Errorf("wait for answers: %w", errno)
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
	return nil
}
