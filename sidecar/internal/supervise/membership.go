package supervise

import (
	"context"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/loop"
)

const (
	beatEvery = 5 * time.Second

	// ORDER=strict: a replica may acknowledge for permitFor after a heartbeat
	// has begun, and the others take it for gone after lapsedAfter, which is
	// longer: so two replicas never act as if each were alone. One that may have
	// been taken for gone joins again: silentAfter leaves a margin for clocks
	// that run apart.
	strictBeatEvery = 250 * time.Millisecond
	permitFor       = 2 * time.Second
	silentAfter     = 2250 * time.Millisecond
	lapsedAfter     = 2500 * time.Millisecond
)

// membershipLoop applies the migrations, registers this replica and keeps its
// heartbeat, until ctx ends.
func (r *Replica) membershipLoop(ctx context.Context) {
	for wait := time.Duration(0); loop.Tick(ctx, wait, nil); wait = min(2*wait+50*time.Millisecond, 5*time.Second) {
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
	if r.cfg.GateOrder() == gate.Strict {
		r.beatStrictly(ctx)
		return
	}
	for wait := time.Duration(0); loop.Tick(ctx, wait, r.beatNow); {
		if _, _, err := r.beat(ctx, 0); err != nil {
			wait = time.Second
			continue
		}
		wait = beatEvery
	}
}

func (r *Replica) beat(ctx context.Context, seen int64) ([]buffer.Peer, time.Duration, error) {
	since, _ := r.replay.Breaker()
	peers, gap, err := r.store.Beat(ctx, buffer.Presence{State: r.gate.State().String(), SeenSeq: seen, BreakerOpen: !since.IsZero()})
	switch {
	case err == nil:
		r.replay.Kick() // the others know that this replica may have leases
	case ctx.Err() == nil:
		r.log.Warn("Heartbeat failed, retrying", "err", err)
	}
	return peers, gap, err
}

// freeLoop frees rows that are marked as awaited by this replica though no request
// of it waits: an insert whose answer was lost leaves such rows.
func (r *Replica) freeLoop(ctx context.Context) {
	wait, woken := beatEvery, r.orphaned
	for loop.Tick(ctx, wait, woken) {
		wait, woken = beatEvery, r.orphaned
		if !r.joined.Load() {
			continue
		}
		n, err := r.store.FreeAwaited(ctx, r.ingress.Awaits)
		switch {
		case err != nil && ctx.Err() == nil:
			wait, woken = time.Second, nil // every insert that fails meanwhile would wake it
			r.log.Warn("Awaited webhooks can't be looked at, retrying", "err", err)
		case n > 0:
			wait = time.Second // there may be more, whose commits come late
			r.log.Warn("Webhooks stored whose sender was refused, they will be delivered", "count", n)
			r.replay.Kick()
		}
	}
}

// beatStrictly is the heartbeat of ORDER=strict.
func (r *Replica) beatStrictly(ctx context.Context) {
	var seen int64
	last, again := time.Now(), false
	for loop.Tick(ctx, strictBeatEvery, r.beatNow) {
		began := time.Now()
		if again || began.Sub(last) > permitFor {
			if err := r.store.Join(ctx, r.gate.State().String()); err != nil {
				r.log.Warn("Replica can't join again, retrying", "err", err)
				continue
			}
			last, again = began, false
		}
		peers, gap, err := r.beat(ctx, seen)
		if err != nil {
			continue
		}
		if silent(gap, time.Since(last)) {
			r.log.Warn("ORDER=strict: heartbeat came too late, joining again", "gap", gap)
			r.gate.Seal(true, time.Time{})
			again = true
			loop.Poke(r.beatNow)
			continue
		}
		last = began
		seen = r.seal(peers, began)
	}
}

// silent reports whether the others may have taken this replica for gone since
// its last heartbeat, and gone on without it: then it has to join again, like a
// new one. gap is the time between two heartbeats by the database's clock, which
// knows of delays on the way and of a time in which this machine stood still.
// took is the time from the begin of the first to the answer to the second by
// this replica's own, which knows of a commit that the others saw late.
func silent(gap, took time.Duration) bool {
	return gap < 0 || gap > silentAfter || took > silentAfter
}

// seal applies ORDER=strict. It returns what this replica has seen, to be said
// with the next heartbeat.
func (r *Replica) seal(peers []buffer.Peer, began time.Time) (seen int64) {
	beside, permit, seen := standing(peers, r.store.Seq(), began)
	if r.sealed.Swap(beside) != beside {
		r.log.Info("ORDER=strict: replicas beside this one changed", "everything_queued", beside)
	}
	r.gate.Seal(beside, permit)
	return seen
}

// standing says what the others' heartbeats mean for the replica with the number
// seq, whose own heartbeat began at that time: beside another living replica
// everything goes through the queue, and a replica that joins acknowledges
// nothing before each of the others has said that it knows of it.
func standing(peers []buffer.Peer, seq int64, began time.Time) (beside bool, permit time.Time, seen int64) {
	permit = began.Add(permitFor)
	for _, p := range peers {
		if p.Age > lapsedAfter {
			continue
		}
		beside = true
		seen = max(seen, p.Seq)
		// Who joined later waits for this one, not the other way round.
		if p.Strict && p.Seq < seq && p.SeenSeq < seq {
			permit = time.Time{}
		}
	}
	return beside, permit, seen
}
