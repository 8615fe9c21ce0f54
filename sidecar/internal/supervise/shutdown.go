package supervise

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/loop"
)

// slowStep is longer than a closing step takes when nothing is wrong.
const slowStep = time.Second

var (
	errNotDone = errors.New("not done in time")
	errCutOff  = errors.New("deliveries under way were cut off")
)

// shutdown ends a replica, in this order: hold everything, tell the
// app, wait until it is gone and no more requests come, close the listeners, stop
// replay, give back the leases, close the pool. It returns the exit code before
// the grace period is over, even when a step hangs.
func (r *Replica) shutdown(stop context.CancelFunc) int {
	r.gate.Fire(lifecycle.Terminate) // before anything else, a log line included
	told := time.Now()
	b := newBudget(told, r.cfg.Grace())
	if r.socketStays {
		r.public.StopAccepting()
		b.quiet = min(b.quiet, inheritedQuiet)
	}
	c := r.gate.Counts()
	r.log.Info("Shutdown signal received, starting graceful drain",
		"activeRequests", c.InFlight+c.Holds, "activeJobs", 0, "activeTotal", c.InFlight+c.Holds)
	if !r.drainBegun {
		r.stopApp(b.drain)
	}

	clean := r.waitDrained(told, b)
	if !clean {
		c = r.gate.Counts()
		r.log.Warn("Grace period is over, cutting off what still runs", "activeRequests", c.InFlight+c.Holds,
			"activeJobs", 0, "activeTotal", c.InFlight+c.Holds)
		r.app.Close() // what was being forwarded is held instead
	}
	if !r.close(stop, b.closing(time.Now())) || !clean {
		return 1
	}
	r.log.Info("Graceful drain completed successfully", "seconds", time.Since(told).Round(time.Millisecond).Seconds())
	return 0
}

// untilTold returns when the replica shall end: at SIGTERM, or because a listener
// failed. Meanwhile it may be told to drain.
func (r *Replica) untilTold() {
	for {
		select {
		case <-r.opt.Terminate:
			return
		case err := <-r.faults:
			r.log.Error("Listener failed", "err", err)
			return
		case <-r.drainNow:
			r.drainFirst()
		}
	}
}

// Drain begins the drain as SIGTERM does, but the replica goes on holding until
// SIGTERM comes: for a platform that can say beforehand that it will come. There is
// no way back.
func (r *Replica) Drain() {
	r.gate.Fire(lifecycle.Terminate)
	loop.Poke(r.drainNow)
}

// drainFirst does once what follows from Drain.
func (r *Replica) drainFirst() {
	if r.drainBegun {
		return
	}
	r.drainBegun = true
	r.log.Info("Told to drain, holding webhooks until the shutdown signal comes")
	r.stopApp(time.Now().Add(r.cfg.Grace()))
}

// stopApp has the app end, now that every webhook is held.
func (r *Replica) stopApp(drain time.Time) {
	if r.opt.Holding != nil {
		r.opt.Holding()
	}
	if !r.cfg.AppStays {
		r.loops.start("word to the app", func() { r.tellApp(drain) })
	}
}

// tellApp begins the app's drain, for a platform that signals only this
// container, or this one first.
func (r *Replica) tellApp(drain time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), min(2*time.Second, time.Until(drain)))
	defer cancel()
	if err := r.prober.BeginDrain(ctx); err != nil {
		r.log.Info("App could not be told to drain; it has its own signal", "err", err)
	}
}

// waitDrained returns true when the app is gone, nothing is in flight, what it
// has taken is recorded, and nobody has come for a while; false at the end of
// the time for it.
func (r *Replica) waitDrained(told time.Time, b budget) bool {
	ctx, cancel := context.WithDeadline(context.Background(), b.drain)
	defer cancel()
	w := drainWatch{refusedFor: b.refused, quietFor: b.quiet, last: told}
	for ok := true; ok; ok = loop.Tick(ctx, b.look, nil) {
		last, counts := r.ingress.LastRequest(), r.gate.Counts()
		if r.cfg.AppStays {
			// Senders have nowhere else to go, so it would never be quiet. Holds that
			// are under way are waited for when the listeners close.
			last, counts.Holds = told, 0
		}
		over := w.over(time.Now(), r.cfg.AppStays || r.app.Refuses(ctx), last, counts)
		if over && r.replay.Unsettled() == 0 {
			return true
		}
	}
	return false
}

// drainWatch watches for the end of what a drain waits for.
type drainWatch struct {
	refusedFor, quietFor time.Duration

	last    time.Time // the last request, or SIGTERM
	refused time.Time // since when the app's port has refused, zero while it does not
}

func (w *drainWatch) over(now time.Time, refuses bool, last time.Time, c gate.Counts) bool {
	switch {
	case !refuses:
		w.refused = time.Time{}
	case w.refused.IsZero():
		w.refused = now
	}
	if last.After(w.last) {
		w.last = last
	}
	return c.InFlight == 0 && c.Holds == 0 && refuses && now.Sub(w.refused) >= w.refusedFor && now.Sub(w.last) >= w.quietFor
}

// close takes the closing steps, each until its own time. It returns false when
// something was cut off or could not be recorded; leases and connections that
// are not given back lapse by themselves.
func (r *Replica) close(stop context.CancelFunc, by func(share float64) time.Time) (clean bool) {
	clean = r.step("listeners", by(listenersBy), "Connections had to be cut", r.closeServers)
	r.gate.Fire(lifecycle.Drained)
	if !r.step("loops", by(loopsBy), "Work in the background had to be cut off", func(ctx context.Context) error {
		return r.endLoops(ctx, stop)
	}) {
		clean = false
	}
	r.app.Close()
	if !r.step("answers", by(answersBy), "Late answers were not all recorded, their webhooks will be delivered again", r.ingress.Wait) {
		clean = false
	}
	if r.joined.Load() {
		r.step("leave", by(leaveBy), "Leases could not be given back, they lapse by themselves", r.store.Leave)
	}
	r.step("store", by(storeBy), "Connections to PostgreSQL could not be closed in time", func(context.Context) error {
		r.store.Close()
		return nil
	})
	return clean
}

// step takes one closing step and returns false when it failed or was not done
// by its time: the process ends soon, and does not wait for it any longer. f
// should return once ctx ends, which is a little before.
func (r *Replica) step(name string, by time.Time, failed string, f func(ctx context.Context) error) bool {
	began := time.Now()
	limit := by.Sub(began)
	r.log.Debug("Shutdown step begins", "step", name, "limit", limit)
	ctx, cancel := context.WithTimeout(context.Background(), part(limit, heedShare))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f(ctx) }() // the end of the process ends it, if nothing else does
	over := time.NewTimer(limit)
	defer over.Stop()
	var err error
	select {
	case err = <-done:
	case <-over.C:
		err = errNotDone
	}
	took := time.Since(began).Round(time.Millisecond).Seconds()
	switch {
	case err != nil:
		r.log.Warn(failed, "step", name, "seconds", took, "err", err)
	case time.Since(began) > slowStep:
		r.log.Warn("Shutdown step was slow", "step", name, "seconds", took)
	}
	return err == nil
}

// closeServers closes the public listener, then the others, each after the requests
// that are in it.
func (r *Replica) closeServers(ctx context.Context) error {
	var errs []error
	for _, s := range r.servers {
		if err := s.Shutdown(ctx); err != nil && !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, err, s.Close())
		}
	}
	return errors.Join(errs...)
}

// endLoops ends what runs in the background and waits for it: for deliveries
// under way until half of the time is over, for the record of what they came to
// until ctx ends.
func (r *Replica) endLoops(ctx context.Context, stop context.CancelFunc) (err error) {
	settleBy, _ := ctx.Deadline()
	r.settleBy.Store(&settleBy)
	stop()
	done := r.loops.ended()
	half := time.NewTimer(part(time.Until(settleBy), cutOffHalf))
	defer half.Stop()
	slow := time.NewTimer(min(slowStep, part(time.Until(settleBy), cutOffHalf/2)))
	defer slow.Stop()
	select {
	case <-done:
	case <-slow.C:
		r.log.Warn("Work in the background is slow to end", "parts", r.loops.running())
	}
	select {
	case <-done:
	case <-half.C:
		r.app.Close() // a delivery still under way ends now, its row stays pending
		err = errCutOff
		<-done
	}
	if n := r.replay.Unsettled(); n > 0 {
		return fmt.Errorf("%d outcomes not recorded, their webhooks will be delivered again", n)
	}
	return err
}
