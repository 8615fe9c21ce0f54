package replay

import (
	"context"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/loop"
)

const (
	flushEvery = 50 * time.Millisecond // outcomes are recorded together
	flushRows  = 50
)

// mark is an outcome that is not recorded yet.
type mark struct {
	hand    *inHand
	outcome buffer.Outcome
}

// mark notes an outcome. The caller may or may not hold the lock of rows, so
// marks have one of their own.
func (r *Replay) mark(h *inHand, result buffer.Result, attempt int, reason string, suspect bool) {
	r.marking.Lock()
	r.marks = append(r.marks, mark{h, buffer.Outcome{
		QueueID: h.row.QueueID, Epoch: h.row.Epoch, Result: result, Attempt: attempt, Reason: reason, Suspect: suspect,
	}})
	full := len(r.marks) >= flushRows
	r.marking.Unlock()
	if full {
		loop.Poke(r.flush)
	}
}

// settleLoop records outcomes until ctx ends, and then what is left.
func (r *Replay) settleLoop(ctx context.Context) {
	for loop.Tick(ctx, flushEvery, r.flush) {
		r.failAll(r.breaker.expired(time.Now()))
		_ = r.settle(ctx) // logged there; the next turn tries again
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), r.Config.SettleBy())
	defer cancel()
	for r.settle(ctx) != nil && ctx.Err() == nil {
		loop.Tick(ctx, 200*time.Millisecond, nil)
	}
}

// settle records what there is. What can't be recorded is kept: while the
// database is away nothing can be claimed, so it stays bounded by what is in
// hand.
func (r *Replay) settle(ctx context.Context) error {
	r.marking.Lock()
	marks := r.marks
	r.marks, r.settling = nil, len(marks)
	r.marking.Unlock()
	if len(marks) == 0 {
		return nil
	}
	outcomes := make([]buffer.Outcome, len(marks))
	for i, m := range marks {
		outcomes[i] = m.outcome
	}
	if err := r.Store.Settle(ctx, outcomes); err != nil {
		r.Log.Warn("Outcomes can't be recorded yet, retrying", "count", len(marks), "err", err)
		r.marking.Lock()
		r.marks, r.settling = append(marks, r.marks...), 0
		r.marking.Unlock()
		return err
	}
	r.marking.Lock()
	r.settling = 0
	r.marking.Unlock()
	if ended := r.release(marks); len(ended) > 0 {
		for lane := range ended {
			r.Gate.Expect(lane)
		}
		loop.Poke(r.look)
	}
	return nil
}

// release drops settled rows from memory and returns the lanes that may be empty
// now. A lane with rows in memory is not one: asking the buffer about those after
// each flush cost as much as the claims.
func (r *Replay) release(marks []mark) (ended map[string]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ended = map[string]bool{}
	for _, m := range marks {
		switch m.outcome.Result {
		case buffer.Tried:
			continue // still in hand
		case buffer.Completed, buffer.Failed:
		}
		r.drop(m.hand)
		// A lane may not have taken the row that it has just marked from its list.
		name := m.hand.row.Webhook.Lane
		if l := r.lanes[name]; l == nil || len(l.rows) <= 1 {
			ended[name] = true
		}
	}
	if len(r.lanes) == 0 {
		loop.Poke(r.kick) // nothing in memory: ask whether there is more
	}
	return ended
}
