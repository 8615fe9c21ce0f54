package entrypoint

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// app is the supervised process and what must be done with it next.
type app struct {
	opts Options
	log  *slog.Logger

	process *os.Process // nil while none runs
	started time.Time
	status  int                     // exit status of the last process
	backoff time.Duration           // before the next restart
	ours    map[int]bool            // children that were there before the app
	told    map[syscall.Signal]bool // stop signals that were forwarded

	restart    <-chan time.Time // set while waiting to start again
	deadline   <-chan time.Time // set once the app was told to stop
	sweepUntil time.Time        // how long to wait for leftover processes
}

func newApp(o Options) *app {
	o = o.withDefaults()
	a := &app{opts: o, log: o.Logger, backoff: o.MinBackoff,
		ours: map[int]bool{}, told: map[syscall.Signal]bool{}}
	for _, pid := range children() {
		a.ours[pid] = true
	}
	return a
}

// over reports whether the app was told to stop, has ended and left no process.
func (a *app) over() bool {
	return a.stopping() && a.process == nil && a.clean()
}

func (a *app) stopping() bool { return len(a.told) > 0 }

func (a *app) start() error {
	cmd := exec.Command(a.opts.Command[0], a.opts.Command[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = a.opts.Env
	cmd.SysProcAttr = processAttributes()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start app: %w", err)
	}
	a.process, a.started = cmd.Process, time.Now()
	a.log.Info("App started", "pid", a.process.Pid)
	return nil
}

// signal forwards a signal. Each kind of stop signal is forwarded only once: for many
// apps a second one means to stop without finishing anything.
func (a *app) signal(received os.Signal) {
	sig, ok := received.(syscall.Signal)
	if !ok {
		return
	}
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT:
		if a.told[sig] {
			return
		}
		if !a.stopping() {
			a.restart = nil
			a.deadline = time.After(a.opts.killAfter())
		}
		a.told[sig] = true
	}
	if a.process == nil {
		if a.stopping() {
			a.finish()
		}
		return
	}
	// The app may have died a moment ago; its SIGCHLD then follows.
	if err := a.process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		a.log.Error("Signal not forwarded to app", "signal", sig.String(), "err", err)
		return
	}
	a.log.Info("Signal forwarded to app", "signal", sig.String(), "pid", a.process.Pid)
}

// reap collects every child that ended. One SIGCHLD may stand for several.
func (a *app) reap() {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			break
		}
		if a.process != nil && pid == a.process.Pid {
			a.ended(ws)
		}
	}
	// The children of a child that ended may now be ours.
	if a.process == nil {
		a.sweep()
	}
}

func (a *app) ended(ws syscall.WaitStatus) {
	pid, ran := a.process.Pid, time.Since(a.started)
	_ = a.process.Release() // reaped already, only the handle is left
	a.process, a.status = nil, exitStatus(ws)
	// The group's leader is gone and reaped. While members of the group are left,
	// the kernel gives its number to no other group.
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	a.sweepUntil = time.Now().Add(a.opts.sweepLimit())
	if a.stopping() {
		a.finish()
		a.log.Info("App ended", "pid", pid, "exit_code", a.status)
		return
	}
	if ran >= a.opts.StableAfter {
		a.backoff = a.opts.MinBackoff
	}
	delay := a.nextDelay()
	if asked := a.status == 0 || ws.Signaled() && ws.Signal() == syscall.SIGTERM; asked {
		delay = max(delay, a.opts.SettleDelay)
	}
	a.restart = time.After(delay)
	a.log.Error("App ended, restarting", "pid", pid, "exit_code", a.status,
		"ran", ran.String(), "delay", delay.String())
}

// startAgain starts the app once the processes of its last run are gone. The command
// has worked before, so a failure now is a shortage (processes, memory) that may
// pass.
func (a *app) startAgain() {
	a.restart = nil
	if !a.clean() {
		a.sweep()
		a.restart = time.After(a.opts.MinBackoff)
		return
	}
	if err := a.start(); err != nil {
		delay := a.nextDelay()
		a.restart = time.After(delay)
		a.log.Error("App not restarted", "delay", delay.String(), "err", err)
	}
}

func (a *app) nextDelay() time.Duration {
	delay := a.backoff
	a.backoff = min(2*a.backoff, a.opts.MaxBackoff)
	return delay
}

// expire kills an app that did not stop in time. When the app has ended, it only
// wakes the loop, whose wait for leftover processes is then over.
func (a *app) expire() {
	a.deadline = nil
	if a.process == nil {
		return
	}
	a.log.Error("App did not stop in time, killing it", "pid", a.process.Pid)
	_ = a.process.Kill()
}

// finish kills the leftover processes of an app that will not be started again, and
// limits the wait for them.
func (a *app) finish() {
	a.sweepUntil = time.Now().Add(a.opts.sweepLimit())
	a.deadline = time.After(a.opts.sweepLimit())
	a.sweep()
}

// clean reports whether no process of the ended app is left, or the wait for them is
// over.
func (a *app) clean() bool {
	return len(a.leftovers()) == 0 || !time.Now().Before(a.sweepUntil)
}

// sweep kills the processes that an ended app left behind. Each death calls it again,
// so grandchildren that become ours later are killed in turn.
func (a *app) sweep() {
	for _, pid := range a.leftovers() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func (a *app) leftovers() []int {
	var left []int
	for _, pid := range children() {
		if !a.ours[pid] && (a.process == nil || pid != a.process.Pid) {
			left = append(left, pid)
		}
	}
	return left
}

func exitStatus(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

func startStatus(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return statusNotFound
	}
	return statusNotExecutable
}
