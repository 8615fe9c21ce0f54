package replay

import (
	"context"
	"errors"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/upstream"
)

// lane is the rows of one lane that are in memory. While it is in the map one
// goroutine works on it, so a lane is sequential by construction.
type lane struct {
	name string
	rows []*inHand
}

// inHand is a claimed row until its outcome is recorded.
type inHand struct {
	row   buffer.Row
	bytes int
}

// enqueue takes claimed rows in hand, each behind the others of its lane. seen
// is what filter returned: when a lane has given rows back since, rows behind
// them may have been claimed, and all go back to be claimed in order.
func (r *Replay) enqueue(period context.Context, rows []buffer.Row, seen int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	stale := seen != r.returns || period.Err() != nil
	var back []*inHand
	for i := range rows {
		h := &inHand{row: rows[i], bytes: len(rows[i].Webhook.Body)}
		r.hand[h.row.QueueID] = h
		r.bytes += h.bytes
		if stale {
			back = append(back, h)
			continue
		}
		name := h.row.Webhook.Lane
		l := r.lanes[name]
		if l == nil {
			l = &lane{name: name}
			r.lanes[name] = l
			r.work.Go(func() { r.run(period, l) })
		}
		l.rows = append(l.rows, h)
	}
	r.giveBack(back)
}

// run delivers a lane's rows one after another until there are none, or until
// the period ends: then the rest goes back.
func (r *Replay) run(period context.Context, l *lane) {
	for {
		r.mu.Lock()
		if len(l.rows) == 0 || period.Err() != nil {
			delete(r.lanes, l.name)
			r.giveBack(l.rows)
			r.mu.Unlock()
			poke(r.kick) // there may be more of it
			return
		}
		h, left := l.rows[0], len(l.rows)-1
		r.mu.Unlock()
		if left == laneAhead/2 {
			poke(r.kick) // the next rows come while these go
		}
		done := r.deliver(period, h, left == 0)
		r.mu.Lock()
		if done {
			l.rows = l.rows[1:]
			r.mu.Unlock()
			continue
		}
		delete(r.lanes, l.name)
		r.giveBack(l.rows)
		r.mu.Unlock()
		return
	}
}

// giveBack returns rows that were claimed and not delivered. Until that is
// recorded nothing of their lanes is claimed, or a later row would go first. The
// caller holds the lock.
func (r *Replay) giveBack(rows []*inHand) {
	if len(rows) == 0 {
		return
	}
	r.returns++
	for _, h := range rows {
		r.back[h.row.Webhook.Lane]++
		r.mark(h, buffer.Returned, h.row.Attempt, "")
	}
	poke(r.flush)
}

// deliver brings one row to an outcome. It returns false when that can't be
// done at present.
func (r *Replay) deliver(ctx context.Context, h *inHand, last bool) bool {
	if err := h.row.Err; err != nil {
		r.fail(h, h.row.Attempt, err.Error())
		return true
	}
	if err := h.row.Webhook.Head.Check(); err != nil {
		r.fail(h, h.row.Attempt, err.Error())
		return true
	}
	free, ok := r.loadBody(ctx, h)
	if !ok {
		return h.row.Err != nil
	}
	defer free()
	started := time.Now()
	result := r.App.Deliver(ctx, &h.row.Webhook, h.row.Attempt, r.policy(h))
	switch result.Outcome {
	case upstream.Delivered:
		r.delivered.Add(1)
		r.Metrics.Replayed.WithLabelValues("delivered").Inc()
		r.Gate.Pace(h.row.Webhook.Lane, time.Since(started))
		r.mark(h, buffer.Completed, result.Attempt, "")
		if last {
			poke(r.flush) // the door may be waiting for this one
		}
	case upstream.Refused:
		r.fail(h, result.Attempt, result.Reason)
	case upstream.Away:
		h.row.Attempt = result.Attempt + 1
		if r.holds(h) && r.may() {
			r.AppDown(errors.New(result.Reason))
		}
		return false
	}
	return true
}

// holds reports whether the row's lease is still the one it was claimed under.
func (r *Replay) holds(h *inHand) bool { return r.until(h).After(time.Now()) }

// until returns the time to which the row's lease is trusted, zero when it is
// lost: another replica may have the row.
func (r *Replay) until(h *inHand) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, held := r.leases[h.row.Bucket]; held && l.Epoch == h.row.Epoch {
		return l.Until
	}
	return time.Time{}
}

func (r *Replay) fail(h *inHand, attempt int, reason string) {
	w := &h.row.Webhook
	r.Metrics.Replayed.WithLabelValues("failed").Inc()
	r.Log.Error("Webhook given up, kept as failed for the operator", "queue_id", h.row.QueueID, "id", w.ID,
		"source", w.Source, "delivery_id", w.DeliveryID, "attempt", attempt, "reason", reason)
	r.mark(h, buffer.Failed, attempt, reason)
	poke(r.flush)
}

// loadBody reads a body that did not come with its row. It returns false when
// that can't be done now, or never: then the row has failed.
func (r *Replay) loadBody(ctx context.Context, h *inHand) (free func(), ok bool) {
	w := &h.row.Webhook
	if w.Body != nil || h.row.BodySize == 0 {
		return func() {}, true
	}
	n := min(int64(h.row.BodySize), largeBytes)
	if r.large.Acquire(ctx, n) != nil {
		return nil, false
	}
	loading, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	err := r.Store.LoadBody(loading, &h.row)
	if err == nil {
		return func() { w.Body = nil; r.large.Release(n) }, true
	}
	r.large.Release(n)
	if h.row.Err != nil {
		r.fail(h, h.row.Attempt, h.row.Err.Error())
	} else {
		r.Log.Warn("Body can't be loaded, retrying", "queue_id", h.row.QueueID, "err", err)
	}
	return nil, false
}

// policy adds to the configured policy what concerns this row.
func (r *Replay) policy(h *inHand) upstream.Policy {
	p := r.Config.Policy
	p.Healthy = r.may
	p.Turn = func(ctx context.Context) (func(), error) {
		if err := r.turns.Acquire(ctx, 1); err != nil {
			return nil, err
		}
		return func() { r.turns.Release(1) }, nil
	}
	if h.row.Webhook.Verified != "" {
		p.Freshen = r.Config.Freshen[h.row.Webhook.Source]
	}
	p.Until = func() time.Time { return r.until(h) }
	p.Retrying = func(attempt int, reason string) {
		r.Metrics.Replayed.WithLabelValues("retried").Inc()
		r.Log.Warn("Webhook refused by the app, trying again", "queue_id", h.row.QueueID,
			"source", h.row.Webhook.Source, "delivery_id", h.row.Webhook.DeliveryID, "attempt", attempt, "reason", reason)
		r.mark(h, buffer.Retried, attempt, reason)
	}
	return p
}
