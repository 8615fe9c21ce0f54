package replay

import (
	"context"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/loop"
)

const (
	pollEvery  = 250 * time.Millisecond // when nothing tells that there is work
	renewEvery = 3 * time.Second        // of a lease that is trusted for 10

	sleepMargin = time.Second // between two readings of how long the machine has slept
)

// leaseLoop keeps this replica's leases. It hands over those that others are to
// have, as soon as nothing of them is in hand.
func (r *Replay) leaseLoop(ctx context.Context) {
	for wait := time.Duration(0); loop.Tick(ctx, wait, r.renew); {
		wait = renewEvery
		may := r.may()
		if !may && !r.hasLeases() {
			wait = 20 * time.Millisecond // soon after the app is up there is work
			continue
		}
		since, _ := r.breaker.isOpen()
		asleep := r.Config.Slept()
		held, excess, short, err := r.Store.RenewLeases(ctx, !since.IsZero())
		if err != nil {
			r.Log.Warn("Leases can't be renewed, retrying", "err", err)
			wait = time.Second
			continue
		}
		r.setLeases(held, asleep)
		if len(held) == 0 && short {
			wait = pollEvery // others hand some over as soon as they see this replica
		}
		again := 500 * time.Millisecond
		if !may {
			excess, again = excess[:0], 100*time.Millisecond
			for _, l := range held {
				excess = append(excess, l.Bucket)
			}
		}
		if !r.handOver(ctx, excess) {
			wait = again
		}
		loop.Poke(r.kick)
	}
}

// overslept reports whether the machine has slept since it asked for its leases:
// its clock stood still meanwhile, and they may be another replica's by now. The
// caller holds the lock.
func (r *Replay) overslept() bool { return r.Config.Slept()-r.slept > sleepMargin }

func (r *Replay) hasLeases() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.leases) > 0
}

// setLeases takes over what the buffer says. A lease that is new here and whose
// last holder died may be of a webhook that kills: see careful. asleep is for how
// long the machine had slept when it was asked.
func (r *Replay) setLeases(held []buffer.Lease, asleep time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slept = asleep
	before := r.leases
	r.leases = make(map[int]buffer.Lease, len(held))
	for _, l := range held {
		if old, ok := before[l.Bucket]; ok && old.Epoch == l.Epoch {
			l.Lapsed = old.Lapsed // told once, when it was taken
		} else {
			delete(r.proven, l.Bucket)
		}
		r.leases[l.Bucket] = l
	}
	r.forgetStaleSuspects()
	for b := range r.leaving {
		if _, ok := r.leases[b]; !ok {
			delete(r.leaving, b)
		}
	}
}

// forgetStaleSuspects forgets suspects that were claimed under a lease which this
// replica has lost, or lost and taken again: their outcome would not be recorded,
// and until they are claimed anew nothing behind them may go out. The caller holds
// the lock.
func (r *Replay) forgetStaleSuspects() {
	r.forget(r.breaker.take(func(h *inHand) bool {
		l, held := r.leases[h.row.Bucket]
		return (!held || l.Epoch != h.row.Epoch) && r.lanes[h.row.Webhook.Lane] == nil
	}))
}

// handOver releases those of the buckets of which nothing is in hand, and lets
// the lanes of the others end. It returns false while some are left.
func (r *Replay) handOver(ctx context.Context, buckets []int) bool {
	r.mu.Lock()
	clear(r.leaving)
	for _, b := range buckets {
		r.leaving[b] = true
	}
	busy := map[int]bool{}
	for _, l := range r.lanes {
		if r.leaving[l.bucket] {
			l.cancel()
			busy[l.bucket] = true
		}
	}
	r.forget(r.breaker.take(func(h *inHand) bool { return r.leaving[h.row.Bucket] && !busy[h.row.Bucket] }))
	for _, h := range r.hand {
		busy[h.row.Bucket] = true
	}
	var idle []int
	for _, b := range buckets {
		if !busy[b] {
			idle = append(idle, b)
			delete(r.leases, b) // before the release: nothing more is claimed
		}
	}
	r.mu.Unlock()
	if len(idle) > 0 {
		if err := r.Store.ReleaseLeases(ctx, idle); err != nil {
			r.Log.Warn("Leases can't be handed over, they will lapse", "err", err)
		}
	}
	return len(idle) == len(buckets)
}

// careful reports whether the row's lane is one of which each head is recorded as
// tried before it is sent. The last holder of such a lane's lease died: if that
// was because of the webhook at its head, the recorded attempts end it, which would
// go on for ever otherwise. One success in the lane ends the care.
func (r *Replay) careful(h *inHand) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, held := r.leases[h.row.Bucket]
	return held && l.Lapsed && !r.proven[h.row.Bucket][h.row.Webhook.Lane]
}

// prove ends the care for a lane.
func (r *Replay) prove(h *inHand) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, held := r.leases[h.row.Bucket]; !held || !l.Lapsed {
		return
	}
	if r.proven[h.row.Bucket] == nil {
		r.proven[h.row.Bucket] = map[string]bool{}
	}
	r.proven[h.row.Bucket][h.row.Webhook.Lane] = true
}

// needKey tells the buffer that a lane waits for a key, so that the lease goes to
// a replica that has it.
func (r *Replay) needKey(ctx context.Context, h *inHand) {
	r.mu.Lock()
	l, held := r.leases[h.row.Bucket]
	r.mu.Unlock()
	if !held || l.Epoch != h.row.Epoch {
		return
	}
	if err := r.Store.NeedKey(ctx, l, h.row.Locked); err != nil {
		r.Log.Warn("A key can't be asked for, retrying", "err", err)
		return
	}
	loop.Poke(r.renew)
}
