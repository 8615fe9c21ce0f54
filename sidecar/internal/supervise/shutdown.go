package supervise

import (
	"context"
	"errors"
	"net/http"
	"time"

	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/lifecycle"
)

const (
	quietFor   = 5 * time.Second // since the last request or SIGTERM, before the door closes
	refusedFor = time.Second     // the app's port, before the app is taken to be gone
	reserve    = 5 * time.Second // of the grace period, for the end
	closeTime  = 4 * time.Second // for all of the closing steps
)

// shutdown is the whole order of a replica's end: hold everything, tell the
// app, wait until it is gone and nobody comes any more, close the door, stop
// replay, give back what is claimed, close the pool. It returns the exit code.
func (r *Replica) shutdown(stop context.CancelFunc) int {
	r.gate.Fire(lifecycle.Terminate) // before anything else, a log line included
	told := time.Now()
	c := r.gate.Counts()
	r.log.Info("Shutdown signal received, starting graceful drain",
		"activeRequests", c.InFlight+c.Holds, "activeJobs", 0, "activeTotal", c.InFlight+c.Holds)
	deadline := told.Add(time.Duration(r.cfg.TerminationGraceSeconds)*time.Second - reserve)
	r.loops.Go(func() { r.tellApp() })

	clean := r.waitDrained(told, deadline)
	if !clean {
		c = r.gate.Counts()
		r.log.Warn("Grace period is over, cutting off what still runs", "activeRequests", c.InFlight+c.Holds,
			"activeJobs", 0, "activeTotal", c.InFlight+c.Holds)
		r.app.Close() // what was being forwarded is held instead
	}
	closing, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if err := r.closeServers(closing); err != nil {
		r.log.Warn("Connections had to be cut", "err", err)
		clean = false
	}
	r.gate.Fire(lifecycle.Drained)
	stop()
	if !r.finish(closing) {
		clean = false
	}
	if !clean {
		return 1
	}
	r.log.Info("Graceful drain completed successfully", "seconds", time.Since(told).Round(time.Millisecond).Seconds())
	return 0
}

// tellApp begins the app's drain, for a platform that signals only this
// container, or this one first.
func (r *Replica) tellApp() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := r.prober.BeginDrain(ctx); err != nil {
		r.log.Info("App could not be told to drain; it has its own signal", "err", err)
	}
}

// waitDrained returns true when the app is gone, nothing is in flight and
// nobody has come for a while; false at the deadline.
func (r *Replica) waitDrained(told, deadline time.Time) bool {
	w := drainWatch{last: told}
	for now := time.Now(); now.Before(deadline); now = time.Now() {
		if w.over(now, r.app.Refuses(), r.ingress.LastRequest(), r.gate.Counts()) {
			return true
		}
		<-time.After(100 * time.Millisecond)
	}
	return false
}

// drainWatch watches for the end of what a drain waits for.
type drainWatch struct {
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
	return c.InFlight == 0 && c.Holds == 0 && refuses && now.Sub(w.refused) >= refusedFor && now.Sub(w.last) >= quietFor
}

// closeServers closes the public door, then the others, each after the requests
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

// finish waits for what runs in the background and gives back what is claimed.
func (r *Replica) finish(ctx context.Context) bool {
	clean := true
	done := make(chan struct{})
	go func() { r.loops.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		r.app.Close() // a delivery still under way ends now, its row stays pending
		<-done
		clean = false
	}
	r.app.Close()
	if err := r.ingress.Wait(ctx); err != nil {
		r.log.Warn("Late answers were not all recorded, their webhooks will be delivered again", "err", err)
		clean = false
	}
	if r.joined.Load() {
		if err := r.store.Leave(ctx); err != nil {
			r.log.Warn("Claims could not be given back, they lapse by themselves", "err", err)
		}
	}
	r.store.Close()
	return clean
}
