package supervise

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"sluice/sidecar/internal/control"
	"sluice/sidecar/internal/ingress"
	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/loop"
)

// vitals say how the database is.
type vitals struct {
	database bool // it answers, and takes writes
}

const (
	vitalsEvery = time.Second
	retainEvery = time.Hour
	retainFirst = 10 * time.Minute
	remindEvery = time.Minute // that the database is still away
)

// vitalsLoop notes whether the database is there.
func (r *Replica) vitalsLoop(ctx context.Context) {
	var told time.Time
	for wait := time.Duration(0); loop.Tick(ctx, wait, nil); {
		joined := r.joined.Load()
		err := r.store.Ping(ctx)
		if ctx.Err() != nil {
			return
		}
		wait = vitalsEvery
		if err != nil {
			r.vitals.Store(&vitals{})
			r.metrics.Database.Set(0)
			if joined && time.Since(told) > remindEvery {
				told = time.Now()
				r.log.Error("Health check failed: PostgreSQL unreachable", "err", err)
			}
			continue
		}
		if !told.IsZero() {
			told = time.Time{}
			r.log.Info("PostgreSQL is reachable again")
		}
		r.vitals.Store(&vitals{database: true})
		r.metrics.Database.Set(1)
	}
}

// retainLoop deletes completed rows after RETENTION, and failed ones after
// FAILED_RETENTION.
func (r *Replica) retainLoop(ctx context.Context) {
	for wait := time.Minute + rand.N(retainFirst); loop.Tick(ctx, wait, nil); wait = retainPause() {
		n, err := r.store.Retain(ctx, r.cfg.Retention)
		switch {
		case err != nil && ctx.Err() == nil:
			r.log.Warn("Completed webhooks could not be deleted, retrying in an hour", "err", err)
		case n > 0:
			r.log.Info("Completed webhooks deleted after RETENTION", "count", n)
		}
		r.retainFailed(ctx)
	}
}

// retainPause is about an hour: replicas that started together do not delete
// together.
func retainPause() time.Duration { return retainEvery*9/10 + rand.N(retainEvery/5) }

func (r *Replica) retainFailed(ctx context.Context) {
	if r.cfg.FailedRetention == 0 {
		return
	}
	n, err := r.store.RetainFailed(ctx, r.cfg.FailedRetention)
	if err != nil && ctx.Err() == nil {
		r.log.Warn("Failed webhooks could not be deleted, retrying in an hour", "err", err)
	}
	if n > 0 {
		r.log.Info("Failed webhooks deleted after FAILED_RETENTION", "count", n)
	}
}

func (r *Replica) ingressVitals() ingress.Vitals {
	c := r.counted.Load()
	rows, bytes, unverified := c.held(r.store.Flow())
	return ingress.Vitals{
		Database:       r.vitals.Load().database,
		App:            r.health.Name(),
		State:          r.gate.State().String(),
		Held:           c.stats.Pending + c.stats.Processing,
		Full:           rows >= r.cfg.HoldMaxRows || bytes >= r.cfg.HoldMaxBytes,
		FullUnverified: unverified >= r.cfg.HoldMaxUnverifiedBytes,
		Ready:          r.Ready(),
	}
}

// Status reports the replica at this moment.
func (r *Replica) Status() control.Status {
	stats, c := r.counted.Load().stats, r.gate.Counts()
	st := control.Status{
		State: r.gate.State().String(), App: r.health.Name(), Database: "unreachable",
		Held: stats.Pending + stats.Processing, Pending: stats.Pending, Processing: stats.Processing,
		Failed: stats.Failed, HeldBytes: stats.Bytes, OldestSecs: stats.OldestPending.Seconds(),
		Replayed: r.replay.Delivered(), InFlight: c.InFlight, Holding: c.Holds, ShutLanes: c.Shut, Forced: c.Forced,
		Order: r.cfg.Order, Sealed: r.sealed.Load(), Replica: r.cfg.ReplicaName, Instance: r.instance,
		Version: r.opt.Version, UptimeSecs: time.Since(r.began).Seconds(),
	}
	if r.vitals.Load().database {
		st.Database = "connected"
	}
	if since, status := r.replay.Breaker(); !since.IsZero() {
		st.BreakerOpenSecs, st.BreakerStatus = time.Since(since).Seconds(), status
	}
	st.LockedKeys = r.replay.Locked()
	st.Refused, st.Unrouted = r.refusals()
	st.Closed = r.closedRoutes()
	return st
}

// OverrideBreaker lets the refusals of an app that refuses everything count, until
// it accepts something.
func (r *Replica) OverrideBreaker() {
	r.log.Warn("Breaker overridden by an operator: refused webhooks become dead letters")
	r.replay.OverrideBreaker()
}

func (r *Replica) closedRoutes() []control.Closed {
	closed := []control.Closed{}
	for _, route := range *r.routes.Load() {
		if route.Closed() {
			closed = append(closed, control.Closed{Route: route.Pattern(), Source: route.Name, Variable: route.Sender.Traits().SecretVar})
		}
	}
	return closed
}

// refusals are the webhooks that ingress has refused, and the requests that look like webhooks without a route.
func (r *Replica) refusals() (refused []control.Refusal, unrouted []control.Unrouted) {
	refused, unrouted = []control.Refusal{}, []control.Unrouted{} // in JSON, lists also when there are none
	for _, of := range r.ingress.Refusals() {
		refused = append(refused, control.Refusal(of))
	}
	for _, of := range r.ingress.Unrouted() {
		unrouted = append(unrouted, control.Unrouted(of))
	}
	return refused, unrouted
}

// Started returns nil once the startup probe may pass.
func (r *Replica) Started() error {
	if r.cfg.StartupGate == "buffer" || r.proven.Load() {
		return r.canHold()
	}
	if !r.health.Ever() {
		return errors.New("the app has not been healthy yet (STARTUP_GATE=app)")
	}
	return r.Ready()
}

// Ready returns nil while a webhook can be forwarded or durably held.
func (r *Replica) Ready() error {
	state := r.gate.State()
	if state == lifecycle.Stopped {
		return errors.New("stopped")
	}
	held := r.canHold()
	if held == nil || state.Replays() && r.health.OK() && r.cfg.Order != "strict" {
		return nil
	}
	return held
}

func (r *Replica) canHold() error {
	switch {
	case !r.joined.Load():
		return errors.New("the queue's tables are not ready yet")
	case !r.vitals.Load().database:
		return errors.New("PostgreSQL is unreachable, nothing can be held")
	case !r.gate.Permitted():
		return errors.New("ORDER=strict: the other replicas have not answered yet")
	}
	return nil
}
