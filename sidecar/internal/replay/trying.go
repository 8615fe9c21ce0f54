package replay

import (
	"context"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/upstream"
)

// trying is one delivery of a lane's head: what upstream asks before and after
// each of its tries.
type trying struct {
	*Replay
	lane   *lane
	hand   *inHand
	canary bool // the try under way is one while the breaker is open
}

// policy adds to the configured policy what concerns this row.
func (t *trying) policy() upstream.Policy {
	p := t.Config.Policy
	p.Healthy = t.may
	p.Turn = t.turn
	p.Single = func() bool { return t.canary }
	p.Until = func() time.Time { return t.until(t.hand) }
	p.Waiting = t.waiting
	if t.hand.row.Webhook.Verified != "" && t.Config.Freshen != nil {
		p.Freshen = t.Config.Freshen(t.hand.row.Webhook.Source)
	}
	return p
}

// turn waits until the row may be tried: for the breaker, for one of the turns,
// and for its body.
func (t *trying) turn(ctx context.Context, attempt int) (done func(), err error) {
	if since, _ := t.breaker.isOpen(); !since.IsZero() {
		t.park(t.lane)
	}
	canary, flown, err := t.breaker.pass(ctx)
	if err != nil {
		return nil, err
	}
	t.canary = canary
	if err := t.turns.Acquire(ctx, 1); err != nil {
		flown()
		return nil, err
	}
	undo := func() { t.turns.Release(1); flown() }
	free, err := t.loadBody(ctx)
	if err != nil {
		undo()
		return nil, err
	}
	done = func() { free(); undo() }
	if !canary && t.careful(t.hand) {
		err := t.Store.Settle(ctx, []buffer.Outcome{{QueueID: t.hand.row.QueueID, Epoch: t.hand.row.Epoch,
			Result: buffer.Tried, Attempt: attempt, Reason: "being tried, after a replica ended without a word"}})
		if err != nil {
			done()
			return nil, err
		}
	}
	return done, nil
}

// waiting is called when a try has failed and another will follow.
func (t *trying) waiting(attempt int, reason string) {
	w := &t.hand.row.Webhook
	t.Metrics.Replayed.WithLabelValues("retried").Inc()
	t.Gate.Reached(w.Lane)
	t.Log.Warn("Webhook refused by the app, trying again", "queue_id", t.hand.row.QueueID,
		"source", w.Source, "delivery_id", w.DeliveryID, "attempt", attempt, "reason", reason)
	t.mark(t.hand, buffer.Tried, attempt, reason, false)
	t.park(t.lane)
}

// loadBody reads a body that is not in memory, for one try.
func (t *trying) loadBody(ctx context.Context) (free func(), err error) {
	h := t.hand
	w := &h.row.Webhook
	if w.Body != nil || h.row.BodySize == 0 {
		return func() {}, nil
	}
	n := min(int64(h.row.BodySize), largeBytes)
	if err := t.large.Acquire(ctx, n); err != nil {
		return nil, err
	}
	loading, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	if err := t.Store.LoadBody(loading, &h.row); err != nil {
		t.large.Release(n)
		if h.row.Err == nil {
			t.Log.Warn("Body can't be loaded, retrying", "queue_id", h.row.QueueID, "err", err)
		}
		return nil, err
	}
	return func() { w.Body = nil; t.large.Release(n) }, nil
}
