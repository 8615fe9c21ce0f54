package replay

import (
	"context"
	"time"

	"sluice/sidecar/internal/buffer"
)

const (
	pollEvery   = 250 * time.Millisecond // when nothing tells that there is work
	claimPause  = 2 * time.Millisecond   // between two claims at the least
	renewEvery  = 3 * time.Second        // of a lease that is trusted for 10
	laneAhead   = 64                     // rows of a lane taken into memory
	handRows    = 1024                   // rows in memory
	handBytes   = 16 << 20               // their bodies
	largeBytes  = 32 << 20               // bodies loaded apart from their row
	loadTimeout = 30 * time.Second
)

// leaseLoop keeps this replica's leases, and hands over what it may not or
// need not keep once nothing of it is in hand.
func (r *Replay) leaseLoop(ctx context.Context) {
	for wait := time.Duration(0); tick(ctx, wait, nil); {
		wait = renewEvery
		may := r.may()
		if !may && !r.hasLeases() {
			wait = 20 * time.Millisecond // soon after the app is up there is work
			continue
		}
		held, excess, err := r.Store.RenewLeases(ctx)
		if err != nil {
			r.Log.Warn("Leases can't be renewed, retrying", "err", err)
			wait = time.Second
			continue
		}
		r.setLeases(held)
		if len(held) == 0 {
			wait = pollEvery // this replica has not joined yet, or others hold all
		}
		if !may {
			excess = excess[:0]
			for _, l := range held {
				excess = append(excess, l.Bucket)
			}
			wait = 100 * time.Millisecond
		}
		r.handOver(ctx, excess)
		poke(r.kick)
	}
}

func (r *Replay) hasLeases() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.leases) > 0
}

func (r *Replay) setLeases(held []buffer.Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.leases)
	for _, l := range held {
		r.leases[l.Bucket] = l
	}
}

// handOver releases those of the buckets of which nothing is in hand.
func (r *Replay) handOver(ctx context.Context, buckets []int) {
	r.mu.Lock()
	busy := map[int]bool{}
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
	if len(idle) == 0 {
		return
	}
	if err := r.Store.ReleaseLeases(ctx, idle); err != nil {
		r.Log.Warn("Leases can't be handed over, they will lapse", "err", err)
	}
}

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
	defer end()
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
	r.enqueue(period, rows, seen)
	return len(rows), nil
}

// filter says what may be claimed: of no lane that has enough in memory, nothing
// that is in hand or going back, and not more than memory allows. seen counts
// what had been given back by then.
func (r *Replay) filter() (f buffer.ClaimFilter, leases []buffer.Lease, seen int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f = buffer.ClaimFilter{
		Limit:    min(handRows-len(r.hand), 256),
		PerLane:  laneAhead,
		MaxBytes: handBytes - r.bytes,
		InHand:   make([]int64, 0, len(r.hand)),
	}
	if f.MaxBytes <= 0 {
		f.Limit = 0
	}
	for id := range r.hand {
		f.InHand = append(f.InHand, id)
	}
	for name, l := range r.lanes {
		if len(l.rows) > laneAhead/2 {
			f.SkipLanes = append(f.SkipLanes, name)
		}
	}
	for name := range r.back {
		f.SkipLanes = append(f.SkipLanes, name)
	}
	leases = make([]buffer.Lease, 0, len(r.leases))
	now := time.Now()
	for _, l := range r.leases {
		if l.Until.After(now) {
			leases = append(leases, l)
		}
	}
	return f, leases, r.returns
}
