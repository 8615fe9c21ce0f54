package drain

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Wait blocks until the drain begins (SIGTERM, an interrupt, POST /drain,
// [Drain.Begin], or ctx's end), completes it and returns the exit code: 0 when
// all work finished, 1 when some was abandoned or a stop function failed.
// A second signal changes nothing. Call it once, from main's goroutine.
func (d *Drain) Wait(ctx context.Context) int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)

	select {
	case s := <-signals:
		d.Begin(signalName(s))
	case <-ctx.Done():
		d.Begin("stopped: " + context.Cause(ctx).Error())
	case <-d.begun:
	}
	<-d.begun // another call of Begin may have been first and not have returned yet

	began := time.Now()
	code := 0
	if !d.waitIdle(began) {
		code = 1
	}
	if !d.stop(began) {
		code = 1
	}
	return code
}

// waitIdle waits for the work under way until the window ends, then until the
// extension ends. It returns false when it had to cut work off.
func (d *Drain) waitIdle(began time.Time) bool {
	if d.idleWithin(d.grace) {
		d.log.Info("Graceful drain completed successfully",
			append(d.Counts().attrs(), "duration_ms", time.Since(began).Milliseconds())...)
		return true
	}
	if more := d.extended - d.grace; more > 0 {
		d.log.Warn("Drain timeout, extending grace window once",
			append(d.Counts().attrs(), "extension_ms", more.Milliseconds())...)
		if d.idleWithin(more) {
			d.log.Info("Graceful drain completed successfully",
				append(d.Counts().attrs(), "duration_ms", time.Since(began).Milliseconds())...)
			return true
		}
	}
	d.log.Error("Force exit after extended grace timeout, work abandoned",
		append(d.Counts().attrs(), "duration_ms", time.Since(began).Milliseconds())...)
	d.cancelCut(ErrCut)
	if !d.idleWithin(d.share(cutShare)) {
		d.log.Error("Work did not stop when cut off", d.Counts().attrs()...)
	}
	return false
}

// idleWithin waits until nothing is under way, and returns false when limit
// passes first.
func (d *Drain) idleWithin(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		if c := d.Counts(); c.ActiveRequests+c.ActiveJobs == 0 {
			return true
		}
		select {
		case <-d.changed:
		case <-timer.C:
			c := d.Counts()
			return c.ActiveRequests+c.ActiveJobs == 0
		}
	}
}

// share returns a part of the reserve.
func (d *Drain) share(part float64) time.Duration { return time.Duration(part * float64(d.reserve)) }

// stop runs the stop functions in order, all of them even when one fails.
func (d *Drain) stop(began time.Time) bool {
	end := began.Add(d.termination - d.share(endShare))
	if soon := time.Now().Add(stopLimit); soon.Before(end) {
		end = soon
	}
	over, done := context.WithDeadline(context.Background(), end)
	defer done()
	ctx, cancel := context.WithDeadline(over, end.Add(-d.share(leaveShare)))
	defer cancel()
	d.mu.Lock()
	steps := d.onStop
	d.mu.Unlock()
	clean := true
	for _, s := range steps {
		if err := s.within(ctx, over); err != nil {
			clean = false
			d.log.Error("Stop function failed", "step", s.name, "err", err)
		}
	}
	d.cancelCut(context.Canceled)
	return clean
}

// within runs the function with ctx and waits for it until over ends. A function
// that still runs then is left running: the program ends soon after.
func (s stopFunc) within(ctx, over context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	select {
	case err := <-done:
		return err
	case <-over.Done():
		return errNotDone
	}
}

func signalName(s os.Signal) string {
	if s == syscall.SIGTERM {
		return "SIGTERM"
	}
	return s.String()
}
