// Package entrypoint is the first process of the app's container
// (`sidecar exec -- CMD ...`). It owns the app's process: it starts it,
// restarts it with backoff when it crashes, hands signals on and reaps what
// the app leaves behind.
//
// It exists because a platform that sees a container end takes the whole
// replica out of ingress, just when the sidecar beside it should hold
// webhooks. With this wrapper the container stays up while the app does not.
//
// It must never end before it is told to, never give the app the same order to
// stop twice, and never let a process of a crashed app live on beside its
// successor: it might hold the port or run a job that runs again.
//
// Only cmd/sidecar calls it. Run takes every child of its process for itself,
// so nothing else in that process may start commands.
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

// Options says what to run and how patiently. Zero durations take the default
// named beside them.
type Options struct {
	Command []string // the program, looked up on PATH, and its arguments
	Logger  *slog.Logger

	// MinBackoff (100ms) is waited before the first restart and doubled before
	// each further one up to MaxBackoff (10s). An app that ran for StableAfter
	// (10s) starts again at MinBackoff.
	MinBackoff, MaxBackoff, StableAfter time.Duration

	// SettleDelay (3s) is waited instead after an end that looks asked for:
	// status 0, or SIGTERM. The order to stop reaches the app by other ways too
	// (POST /drain, a platform that signals every process), and ours follows.
	SettleDelay time.Duration

	// Grace (330s) is what the platform leaves between the order to stop and its
	// SIGKILL. An app that has not ended shortly before that is killed, while
	// there is time to sweep what it leaves behind and to tell its status.
	Grace time.Duration
}

// lastPart is kept of the grace, an eighth of a short one: for the killed app's
// descendants to be gone, and a quarter of it for the end itself. An app that
// divides its grace as app/drain does has ended before.
const lastPart = 2 * time.Second

func (o Options) lastPart() time.Duration { return min(lastPart, o.Grace/8) }

// killAfter is how long the app has to end once it was told to.
func (o Options) killAfter() time.Duration { return o.Grace - o.lastPart() }

// sweepLimit bounds the wait for killed descendants.
func (o Options) sweepLimit() time.Duration { return o.lastPart() * 3 / 4 }

// Exit statuses a shell gives for a command that cannot be started.
const (
	statusUsage         = 2
	statusNotExecutable = 126
	statusNotFound      = 127
)

// Run starts the command and stays until it is told to stop, by SIGTERM,
// SIGINT or SIGQUIT or by ctx, and the app has ended. It returns the app's exit
// status, 128 plus the signal's number when a signal ended it. An error comes
// only with a command that could not be started the first time.
func Run(ctx context.Context, o Options) (int, error) {
	if len(o.Command) == 0 {
		return statusUsage, ErrNoCommand
	}
	// The kernel ties a child's parent-death signal to the thread that started
	// it, so that thread must live as long as the app.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	// Told of dead children before the first one can die.
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	defer signal.Stop(died)
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT,
		syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
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
