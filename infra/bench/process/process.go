// Package process runs the programs that a bench measures and reads how much
// CPU time they have used.
//
// It owns the processes it starts. Stop or Kill ends a process; on Linux the
// kernel also ends it when its parent dies. It must never touch a process that it
// did not start. Package bench calls it.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Command is what is run.
type Command struct {
	Path string
	Args []string
	Env  []string // the whole environment, except PATH, HOME and TMPDIR
	Log  string   // the file that takes both outputs
}

// Process is a running or ended process.
type Process struct {
	name  string
	log   string
	cmd   *exec.Cmd
	ended chan struct{}
}

// Start runs the command. The caller ends it.
func Start(c Command) (*Process, error) {
	log, err := os.OpenFile(c.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(c.Path, c.Args...)
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		cmd.Env = append(cmd.Env, name+"="+os.Getenv(name))
	}
	cmd.Env = append(cmd.Env, c.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C in the terminal is for the bench to handle
	dieWithParent(cmd.SysProcAttr)
	p := &Process{name: filepath.Base(c.Path), log: c.Log, cmd: cmd, ended: make(chan struct{})}
	started := make(chan error, 1)
	go p.own(started)
	if err := <-started; err != nil {
		<-p.ended
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return p, nil
}

// own starts the process and waits for it on one thread: the kernel's
// parent-death signal goes out when the thread that started a child ends.
func (p *Process) own(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.ended)
	err := p.cmd.Start()
	started <- err
	if err == nil {
		_ = p.cmd.Wait() // Err says how it ended
	}
}

// CPU returns the CPU time that the process and its children have used.
func (p *Process) CPU() (time.Duration, error) { return CPU(p.cmd.Process.Pid) }

// Err returns an error with the end of the log once the process has ended.
func (p *Process) Err() error {
	select {
	case <-p.ended:
		text, _ := os.ReadFile(p.log)
		return fmt.Errorf("%s ended: %s\n%s", p.name, p.cmd.ProcessState, text[max(0, len(text)-2000):])
	default:
		return nil
	}
}

// Wait waits until the process has ended by itself; an exit status other than 0
// is an error.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.ended:
	case <-ctx.Done():
		return fmt.Errorf("wait for %s: %w", p.name, ctx.Err())
	}
	if !p.cmd.ProcessState.Success() {
		return p.Err()
	}
	return nil
}

// Stop asks the process to end and kills it when it has not within the limit.
func (p *Process) Stop(limit time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.ended:
		return nil
	case <-timer.C:
		return p.Kill()
	}
}

// Kill ends the process at once, together with its children.
func (p *Process) Kill() error {
	// It leads a process group of its own.
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.ended
	return nil
}
