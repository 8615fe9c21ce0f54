package replica

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Command is what a container runs.
type Command struct {
	Path  string
	Args  []string
	Env   []string      // added to the environment of this process
	Delay time.Duration // before each start, to stand in for a slow boot
}

// container runs a command and starts it again when it ends, as the platform
// does with a container, until it is told to terminate.
type container struct {
	name    string // "app" or "sidecar"
	command Command
	log     string
	backoff time.Duration
	say     func(format string, args ...any) time.Time
	started func(at time.Time) // called after each start of the process
	ended   func()             // called after each end of the process, nil for none
	died    func(how string)   // called when it ends without a signal or crash of ours

	mu       sync.Mutex
	process  *os.Process // nil while none runs
	stopping bool        // not started again
	crashed  bool        // by us, and not started again since
	cut      bool        // SIGKILL was needed, or asked for
	code     int         // exit code of the last process, -1 when a signal ended it
	gone     chan struct{}
	cancel   context.CancelFunc
}

// again returns a container that runs the same, and has not been started.
func (c *container) again() *container {
	return &container{
		name: c.name, command: c.command, log: c.log, backoff: c.backoff,
		say: c.say, started: c.started, ended: c.ended, died: c.died,
	}
}

// start runs the container until stop. Its goroutine is waited for by gone.
func (c *container) start(ctx context.Context) {
	ctx, c.cancel = context.WithCancel(ctx)
	c.gone = make(chan struct{})
	go c.restartLoop(ctx)
}

func (c *container) restartLoop(ctx context.Context) {
	// Children die with the thread that started them (see dieWithParent), so
	// that thread has to stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(c.gone)
	for wait := c.command.Delay; pause(ctx, wait); wait = c.backoff + c.command.Delay {
		if err := c.run(); err != nil {
			c.say("%s cannot start: %v", c.name, err)
		}
		if c.ending() {
			return
		}
	}
}

// run runs the process once, to its end.
func (c *container) run() error {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(c.command.Path, c.command.Args...)
	cmd.Env = append(os.Environ(), c.command.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for this process to handle
	dieWithParent(cmd.SysProcAttr)

	c.mu.Lock()
	if c.stopping {
		c.mu.Unlock()
		return nil
	}
	at := time.Now()
	if err = cmd.Start(); err == nil {
		c.process, c.crashed = cmd.Process, false
	}
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("start process: %w", err)
	}
	c.say("%s started", c.name)
	c.started(at)
	err = cmd.Wait()
	c.mu.Lock()
	c.process, c.code = nil, cmd.ProcessState.ExitCode()
	asked := c.stopping || c.crashed
	c.mu.Unlock()
	if c.ended != nil {
		c.ended()
	}
	c.say("%s ended: %s", c.name, ended(err))
	if !asked {
		c.died(c.name + " ended by itself: " + ended(err))
	}
	return nil
}

func ended(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "exit 0"
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return fmt.Sprintf("exit %d", exit.ExitCode())
	default:
		return err.Error()
	}
}

func (c *container) ending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopping
}

// leave lets the process end by itself and does not start it again.
func (c *container) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	if c.process == nil {
		c.cancel()
	}
}

// terminate sends SIGTERM to a container that has been told to leave, and
// returns the time of the signal.
func (c *container) terminate() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := time.Now()
	if c.process != nil {
		// An error means that the process has just ended, as wanted.
		_ = c.process.Signal(syscall.SIGTERM)
	}
	return at
}

// crash kills the process; the container starts it again after its back-off.
func (c *container) crash() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process != nil {
		c.crashed = true
		_ = c.process.Kill()
	}
}

// signal sends a signal to the process and reports whether there was one.
func (c *container) signal(s syscall.Signal) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.process != nil && c.process.Signal(s) == nil
}

// kill ends the container at once and waits for it.
func (c *container) kill() {
	c.mu.Lock()
	c.stopping = true
	if c.process != nil {
		c.cut = true
		_ = c.process.Kill()
	}
	c.cancel()
	c.mu.Unlock()
	<-c.gone
}

func (c *container) exit() (code int, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code, c.cut
}

// pause waits for d and reports whether ctx is still alive then.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
