package supervise

import (
	"context"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/gate"
)

const (
	beatEvery = 5 * time.Second

	// ORDER=strict: a replica may acknowledge for permitFor after a heartbeat
	// has begun, and the others take it for gone after lapsedAfter, which is
	// longer: so two replicas never act as if each were alone.
	strictBeatEvery = 250 * time.Millisecond
	permitFor       = 2 * time.Second
	lapsedAfter     = 2500 * time.Millisecond
)

// membershipLoop applies the migrations, registers this replica and keeps its
// heartbeat, until ctx ends.
func (r *Replica) membershipLoop(ctx context.Context) {
	for wait := time.Duration(0); tick(ctx, wait, nil); wait = min(2*wait+50*time.Millisecond, 5*time.Second) {
		err := r.store.Migrate(ctx)
		if err == nil {
			err = r.store.Join(ctx, r.gate.State().String())
		}
		if err == nil {
			break
		}
		if ctx.Err() == nil {
			r.log.Warn("PostgreSQL is not ready, retrying", "err", err)
		}
	}
	if ctx.Err() != nil {
		return
	}
	r.joined.Store(true)
	every := beatEvery
	if r.cfg.GateOrder() == gate.Strict {
		every = strictBeatEvery
	}
	var seen int64
	for wait := time.Duration(0); tick(ctx, wait, r.beatNow); {
		began := time.Now()
		peers, err := r.store.Beat(ctx, r.gate.State().String(), seen)
		switch {
		case err == nil:
			wait = every
			r.replay.Kick()
		case ctx.Err() == nil:
			wait = min(every, time.Second)
			r.log.Warn("Heartbeat failed, retrying", "err", err)
		}
		if err == nil && r.cfg.GateOrder() == gate.Strict {
			seen = r.seal(peers, began)
		}
	}
}

// seal applies ORDER=strict: beside another living replica everything goes
// through the queue, and a replica that joins acknowledges nothing before each
// of the others has said that it knows of it. It returns what this replica has
// seen, to be said with the next heartbeat.
func (r *Replica) seal(peers []buffer.Peer, began time.Time) (seen int64) {
	permit, beside := began.Add(permitFor), false
	for _, p := range peers {
		if p.Age > lapsedAfter {
			continue
		}
		beside = true
		seen = max(seen, p.Seq)
		if p.Strict && p.SeenSeq < r.store.Seq() {
			permit = time.Time{}
		}
	}
	if r.sealed.Swap(beside) != beside {
		r.log.Info("ORDER=strict: replicas beside this one changed", "everything_queued", beside)
	}
	r.gate.Seal(beside, permit)
	return seen
}
