package postgres

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

const crashLimit = 10 * time.Second

// Crash kills every process of the server with SIGKILL, as the kernel does when
// memory runs out: none can write anything more. The next Restart does crash
// recovery.
func (s *Server) Crash() error {
	if s.proc == nil {
		return nil
	}
	// Freeze the server first so that it forks no more children. A child that
	// was missed would hold the shared memory, and the next start would fail.
	children, err := s.freeze()
	if err != nil {
		return fmt.Errorf("crash server: %w", err)
	}
	pids := append(children, s.proc.cmd.Process.Pid)
	var errs []error
	for _, pid := range pids {
		errs = append(errs, signal(pid, syscall.SIGKILL))
	}
	// The shared memory exists as long as one of them does.
	for _, pid := range pids {
		errs = append(errs, waitEnded(pid, crashLimit))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	<-s.proc.ended
	if err := s.endStragglers(); err != nil {
		return fmt.Errorf("crash server: %w", err)
	}
	s.proc = nil
	return nil
}

// endStragglers kills children that the server forked while it was being frozen.
// It finds them by their working directory, the server's data directory.
func (s *Server) endStragglers() error {
	for until := time.Now().Add(crashLimit); ; <-time.After(time.Millisecond) {
		left, err := workingIn(s.data())
		if err != nil || len(left) == 0 {
			return err
		}
		if time.Now().After(until) {
			return fmt.Errorf("processes %v still run after SIGKILL", left)
		}
		for _, pid := range left {
			if err := signal(pid, syscall.SIGKILL); err != nil {
				return err
			}
		}
	}
}

func waitEnded(pid int, limit time.Duration) error {
	for until := time.Now().Add(limit); !ended(pid); <-time.After(time.Millisecond) {
		if time.Now().After(until) {
			return fmt.Errorf("kill process %d: it still runs after SIGKILL", pid)
		}
	}
	return nil
}

// Freeze suspends every process of the server (SIGSTOP): connections stay open,
// nothing answers. Thaw lets the processes go on.
func (s *Server) Freeze() error {
	if s.proc == nil {
		return nil
	}
	if _, err := s.freeze(); err != nil {
		return fmt.Errorf("freeze server: %w", err)
	}
	return nil
}

// Thaw lets a frozen server go on (SIGCONT).
func (s *Server) Thaw() error {
	if s.proc == nil {
		return nil
	}
	children, err := childrenOf(s.proc.cmd.Process.Pid)
	errs := []error{err}
	for _, pid := range children {
		errs = append(errs, signal(pid, syscall.SIGCONT))
	}
	return errors.Join(append(errs, s.send(syscall.SIGCONT))...)
}

func (s *Server) freeze() (children []int, err error) {
	if err := s.send(syscall.SIGSTOP); err != nil {
		return nil, err
	}
	if children, err = childrenOf(s.proc.cmd.Process.Pid); err != nil {
		return nil, err
	}
	for _, pid := range children {
		if err := signal(pid, syscall.SIGSTOP); err != nil {
			return nil, err
		}
	}
	return children, nil
}

func (s *Server) send(sig syscall.Signal) error {
	return signal(s.proc.cmd.Process.Pid, sig)
}

// signal signals a process; one that has ended needs no signal.
func signal(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return os.NewSyscallError("kill", err)
	}
	return nil
}
