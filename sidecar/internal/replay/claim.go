package replay

import (
	"context"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/loop"
)

const (
	claimPause  = 2 * time.Millisecond  // between two claims at the least
	fullPause   = 10 * time.Millisecond // the same while there is work in memory for that long
	claimRows   = 256
	laneAhead   = 64       // rows of a lane taken into memory
	laneAhead2  = 16       // the same where there are many lanes
	handRows    = 1024     // rows in memory, heads of parked lanes not counted
	handBytes   = 16 << 20 // their bodies
	parkedLanes = 16 << 10 // lanes of which only the head is in memory
)

// claimLoop takes rows into memory while this replica may deliver them.
func (r *Replay) claimLoop(ctx context.Context) {
	for loop.Tick(ctx, pollEvery, r.kick) {
		if r.may() {
			r.claimPeriod(ctx)
		}
	}
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
	wait, vain := time.Duration(0), claimPause
	for busy := false; r.may() && ctx.Err() == nil; loop.Tick(ctx, wait, r.kick) {
		if !loop.Tick(ctx, r.pause(), nil) {
			return
		}
		wait = pollEvery
		n, more, err := r.claim(period)
		if err != nil {
			r.Log.Warn("Held webhooks can't be claimed, retrying", "err", err)
			continue
		}
		if n > 0 && !busy {
			r.Log.Info("Dequeued pending webhooks for replay", "count", n)
		}
		busy = n > 0
		// On to the lanes that have not been looked at: more and more slowly where
		// there is nothing in them that may be claimed.
		if vain = min(2*vain, pollEvery); n > 0 {
			vain = claimPause
		}
		if more {
			wait = vain
		}
	}
}

// pause is how long to wait between two claims: rows that come in small numbers
// cost the database more, so there is no hurry while there is work in memory.
func (r *Replay) pause() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.hand) < claimRows {
		return claimPause
	}
	return fullPause
}

// claim returns how many rows it took in hand, and whether there are lanes that it
// has not looked at.
func (r *Replay) claim(period context.Context) (n int, more bool, err error) {
	f, leases, seen := r.filter()
	if f.Limit <= 0 || len(leases) == 0 {
		return 0, false, nil
	}
	rows, more, err := r.Store.Claim(period, leases, f)
	if err != nil {
		return 0, false, err
	}
	r.crowd = more
	return r.enqueue(period, rows, seen), more, nil
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
		if l.skipped() {
			f.SkipLanes = append(f.SkipLanes, name)
		}
	}
	f.Limit, f.PerLane, f.MaxBytes = min(handRows-(len(r.hand)-parked), claimRows), laneAhead, handBytes-r.bytes
	if r.crowd && len(r.lanes)-parked > handRows/laneAhead {
		f.PerLane = laneAhead2
	}
	if f.MaxBytes <= 0 || parked >= parkedLanes {
		f.Limit = 0
	}
	f.InHand = make([]int64, 0, len(r.hand))
	for id, h := range r.hand {
		if l := r.lanes[h.row.Webhook.Lane]; l == nil || !l.skipped() { // what is skipped as a whole need not be named
			f.InHand = append(f.InHand, id)
		}
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
