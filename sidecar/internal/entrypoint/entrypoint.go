// Package entrypoint is the first process of the app's container
// (`sidecar exec -- CMD ...`). It owns the app's process: it starts it,
// restarts it with backoff when it crashes, forwards signals and reaps the
// processes that the app leaves behind.
//
// It exists because a platform that sees a container end sends no more requests to
// the whole replica, just when the sidecar beside it should hold webhooks. With
// this wrapper the container keeps running while the app does not.
//
// It must never end before it is told to, never send the app the same stop signal
// twice, and never let a process of a crashed app survive beside the restarted
// app: it could hold the port, or run a job that the restarted app runs again.
//
// Only cmd/sidecar calls it, for `exec`, and for `run` beside the sidecar itself. Run
// reaps every child of its process, so nothing else in that process may start
// commands.
package entrypoint

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// ErrNoCommand is returned by Run when Options.Command is empty.
var ErrNoCommand = errors.New("no command to run")

// Options says what to run and how long to wait. A zero duration takes the default
// named beside it.
type Options struct {
	Command []string // the program, looked up on PATH, and its arguments
	Env     []string // of the app, as NAME=VALUE; nil for this process's own
	Logger  *slog.Logger

	// Stops brings SIGTERM, SIGINT and SIGQUIT from the caller, who decides when the
	// app gets them. When it is nil, Run takes them from the operating system.
	Stops <-chan os.Signal

	// MinBackoff (100ms) is the wait before the first restart. It doubles before
	// each further one, up to MaxBackoff (10s). After a run of StableAfter (10s) it
	// is MinBackoff again.
	MinBackoff, MaxBackoff, StableAfter time.Duration

	// SettleDelay (3s) is the least wait after an end that looks intended: status
	// 0, or SIGTERM. The app may have been told to stop by POST /drain, or by a
	// platform that signals every process, and our own stop signal then follows.
	SettleDelay time.Duration

	// Grace (330s) is the time between the platform's stop signal and its SIGKILL.
	// An app that has not ended shortly before that is killed, so that there is
	// time to kill what it leaves behind and to report its status.
	Grace time.Duration
}

// lastPart is the part of the grace that remains after the app is killed; of a short
// grace it is an eighth. Three quarters of it are for killing the app's descendants
// and a quarter for ending ourselves. An app that divides its grace as app/drain
// does has ended by then.
const lastPart = 2 * time.Second

func (o Options) lastPart() time.Duration { return min(lastPart, o.Grace/8) }

// killAfter is how long the app may take to end once it was told to.
func (o Options) killAfter() time.Duration { return o.Grace - o.lastPart() }

// sweepLimit bounds the wait for killed descendants.
func (o Options) sweepLimit() time.Duration { return o.lastPart() * 3 / 4 }

// Exit statuses a shell gives for a command that cannot be started.
const (
	statusUsage         = 2
	statusNotExecutable = 126
	statusNotFound      = 127
)

// Run starts the command and returns once it was told to stop, by SIGTERM, SIGINT,
// SIGQUIT or ctx, and the app has ended. It returns the app's exit status, or 128
// plus the signal's number when a signal ended it. It returns an error only when
// the command could not be started the first time.
func Run(ctx context.Context, o Options) (int, error) {
	if len(o.Command) == 0 {
		return statusUsage, ErrNoCommand
	}
	// The kernel ties a child's parent-death signal to the thread that started
	// it, so that thread must live as long as the app.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	// Register for SIGCHLD before the first child can die.
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	defer signal.Stop(died)
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	if o.Stops == nil {
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	}
	defer signal.Stop(signals)

	a := newApp(o)
	if err := adoptOrphans(); err != nil {
		a.log.Warn("Orphans of the app are not reaped here", "err", err)
	}
	if err := a.start(); err != nil {
		return startStatus(err), err
	}
	return a.supervise(ctx.Done(), signals, died), nil
}

// supervise is the one loop that owns the app's state; every event passes
// through it, so nothing here needs a lock.
func (a *app) supervise(cancelled <-chan struct{}, signals, died <-chan os.Signal) int {
	for !a.over() {
		select {
		case sig := <-signals:
			a.signal(sig)
		case sig := <-a.opts.Stops:
			a.signal(sig)
		case <-cancelled:
			cancelled = nil
			a.signal(syscall.SIGTERM)
		case <-died:
			a.reap()
		case <-a.restart:
			a.startAgain()
		case <-a.deadline:
			a.expire()
		}
	}
	return a.status
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&o.MinBackoff, 100 * time.Millisecond},
		{&o.MaxBackoff, 10 * time.Second},
		{&o.StableAfter, 10 * time.Second},
		{&o.SettleDelay, 3 * time.Second},
		{&o.Grace, 330 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
