package replay

import (
	"context"
	"time"

	"sluice/sidecar/internal/buffer"
)

const (
	claimPause  = 2 * time.Millisecond // between two claims at the least
	laneAhead   = 64                   // rows of a lane taken into memory
	handRows    = 1024                 // rows in memory, heads of parked lanes not counted
	handBytes   = 16 << 20             // their bodies
	parkedLanes = 16 << 10             // lanes of which only the head is in memory
)

// claimLoop takes rows into memory while this replica may deliver them.
func (r *Replay) claimLoop(ctx context.Context) {
	for claimTick(ctx, r.kick) {
		if r.may() {
			r.claimPeriod(ctx)
		}
	}
}

func claimTick(ctx context.Context, kick <-chan struct{}) bool {
	return tick(ctx, pollEvery, kick) && tick(ctx, claimPause, nil)
}

// claimPeriod claims until nothing may be delivered any more. Its end ends the
// lanes that began in it.
func (r *Replay) claimPeriod(ctx context.Context) {
	period, end := context.WithCancel(ctx)
	defer func() {
		end()
		r.mu.Lock()
		r.takeBack(r.breaker.take(func(*inHand) bool { return true }))
		r.mu.Unlock()
	}()
	r.breaker.hurry()
	for busy := false; r.may() && ctx.Err() == nil; claimTick(ctx, r.kick) {
		n, err := r.claim(period)
		if err != nil {
			r.Log.Warn("Held webhooks can't be claimed, retrying", "err", err)
			continue
		}
		if n > 0 && !busy {
			r.Log.Info("Dequeued pending webhooks for replay", "count", n)
		}
		busy = n > 0
	}
}

func (r *Replay) claim(period context.Context) (int, error) {
	f, leases, seen := r.filter()
	if f.Limit <= 0 || len(leases) == 0 {
		return 0, nil
	}
	rows, err := r.Store.Claim(period, leases, f)
	if err != nil {
		return 0, err
	}
	return r.enqueue(period, rows, seen), nil
}

// filter says what may be claimed: of no lane that has enough in memory or is
// parked, nothing that is in hand, and not more than memory allows. seen says what
// had been forgotten by then.
func (r *Replay) filter() (f buffer.ClaimFilter, leases []buffer.Lease, seen int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	parked := 0
	for name, l := range r.lanes {
		if l.parked {
			parked++
		}
		if l.parked || len(l.rows) > laneAhead/2 {
			f.SkipLanes = append(f.SkipLanes, name)
		}
	}
	f.Limit, f.PerLane, f.MaxBytes = min(handRows-(len(r.hand)-parked), 256), laneAhead, handBytes-r.bytes
	if f.MaxBytes <= 0 || parked >= parkedLanes {
		f.Limit = 0
	}
	f.InHand = make([]int64, 0, len(r.hand))
	for id := range r.hand {
		f.InHand = append(f.InHand, id)
	}
	leases = make([]buffer.Lease, 0, len(r.leases))
	now := time.Now()
	if r.overslept() {
		return f, leases, r.forgets
	}
	for _, l := range r.leases {
		if l.Until.After(now) && !r.leaving[l.Bucket] {
			leases = append(leases, l)
		}
	}
	return f, leases, r.forgets
}
