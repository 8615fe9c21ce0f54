package replay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/loop"
	"sluice/sidecar/internal/upstream"
)

const (
	largeBytes  = 32 << 20 // bodies loaded apart from their row
	loadTimeout = 30 * time.Second
	lockedWait  = 5 * time.Second // before a lane that waits for a key is looked at again
)

// deliver works on the head of a lane. last says that nothing of the lane is
// behind it in memory.
func (r *Replay) deliver(ctx context.Context, l *lane, h *inHand, last bool) step {
	if h.row.Locked != "" {
		return r.locked(ctx, l, h)
	}
	err := h.row.Err
	if err == nil {
		err = h.row.Webhook.Head.Check()
	}
	if err != nil {
		r.fail(h, h.row.Attempt, err.Error(), false)
		return next
	}
	if r.lethal(h) {
		r.fail(h, h.row.Attempt-1, fmt.Sprintf("gave up after %d attempts: the replica ended in the last one", h.row.Attempt-1), r.Config.BreakerLimit > 0)
		return next
	}
	t := &trying{Replay: r, lane: l, hand: h}
	started := time.Now()
	result := r.App.Deliver(ctx, &h.row.Webhook, h.row.Attempt, t.policy())
	switch result.Outcome {
	case upstream.Delivered:
		r.delivered.Add(1)
		r.Metrics.Replayed.WithLabelValues("delivered").Inc()
		r.Gate.Pace(h.row.Webhook.Lane, time.Since(started))
		r.prove(h)
		r.accepted(l)
		r.mark(h, buffer.Completed, result.Attempt, "", false)
		if last {
			loop.Poke(r.flush) // the gate may be waiting for this one
		}
		return next
	case upstream.Refused:
		return r.refused(l, h, result, t.canary)
	case upstream.Away:
		if h.row.Err != nil { // found out when its body was loaded
			r.fail(h, result.Attempt, h.row.Err.Error(), false)
			return next
		}
		if result.Refuses && r.holds(h) && r.may() {
			r.AppDown(errors.New(result.Reason))
		}
	}
	return leave
}

// lethal reports whether a replica ended while it made the row's last attempt. That
// says nothing about the app's answers, so it is no evidence for the breaker. While
// the breaker is open such a row may be the canary like any other.
func (r *Replay) lethal(h *inHand) bool {
	since, _ := r.breaker.isOpen()
	return since.IsZero() && h.row.Attempt > r.Config.Policy.MaxAttempts && r.careful(h)
}

// accepted notes that the app has taken a webhook of the lane, or a live one (nil).
func (r *Replay) accepted(l *lane) {
	bad, wasOpen := r.breaker.accepted()
	if l != nil {
		r.mu.Lock()
		bad, l.before = append(bad, l.before...), nil
		r.mu.Unlock()
	}
	for _, h := range bad {
		r.fail(h, h.attempt, h.reason, false)
	}
	if wasOpen {
		r.showBreaker()
		r.Log.Info("Breaker closed, the app accepts webhooks again")
		r.BreakerChanged()
		loop.Poke(r.renew)
	}
}

// refused decides about a webhook that the app has refused for good, or whose
// attempts are spent.
func (r *Replay) refused(l *lane, h *inHand, result upstream.Result, canary bool) step {
	if canary && result.Status == 0 && result.Attempt < r.Config.Policy.MaxAttempts {
		return r.unspent(h, result)
	}
	h.attempt, h.reason = result.Attempt, result.Reason
	ruled, decided := r.breaker.refused(h, result.Status, time.Now())
	switch ruled {
	case doomed:
		r.fail(h, result.Attempt, result.Reason, r.Config.BreakerLimit > 0)
		return next
	case suspect:
		r.failAll(decided)
		return next
	case opening:
		r.mu.Lock()
		r.takeBack(decided)
		r.mu.Unlock()
		r.tellOpen(result.Reason)
		return leave
	case again:
	}
	if !canary {
		return leave // it was under way when the breaker opened
	}
	r.Log.Warn("Webhook refused while the breaker is open, it stays", "queue_id", h.row.QueueID,
		"source", h.row.Webhook.Source, "delivery_id", h.row.Webhook.DeliveryID, "reason", result.Reason)
	return retry
}

// unspent keeps a canary whose only try failed in a way that another may not:
// unless the breaker lets refusals count by now, as if it had not been made.
func (r *Replay) unspent(h *inHand, result upstream.Result) step {
	if r.breaker.counts(time.Now()) && result.Attempt >= h.row.Attempt {
		h.row.Attempt = result.Attempt + 1
		r.mark(h, buffer.Tried, result.Attempt, result.Reason, false)
	}
	r.Log.Warn("Webhook refused while the breaker is open, it stays", "queue_id", h.row.QueueID,
		"source", h.row.Webhook.Source, "delivery_id", h.row.Webhook.DeliveryID, "reason", result.Reason)
	return retry
}

// Answered notes what the app has answered to a live webhook: that it accepts
// webhooks, or does not. Refusals count of verified ones alone: else anybody could
// open the breaker with requests that no app would take.
func (r *Replay) Answered(status int, verified bool) {
	switch {
	case status/100 == 2:
		r.accepted(nil)
	case verified && !upstream.Retryable(status):
		ruled, decided := r.breaker.refused(nil, status, time.Now())
		if ruled == opening {
			r.mu.Lock()
			r.takeBack(decided)
			r.mu.Unlock()
			r.tellOpen(fmt.Sprintf("app answered %d", status))
			return
		}
		r.failAll(decided)
	}
}

// showBreaker sets the gauge to the breaker's state now. It does not take a state
// from its caller, since another goroutine may have changed it meanwhile.
func (r *Replay) showBreaker() {
	r.showing.Lock()
	defer r.showing.Unlock()
	open := 0.0
	if since, _ := r.breaker.isOpen(); !since.IsZero() {
		open = 1
	}
	r.Metrics.BreakerOpen.Set(open)
}

func (r *Replay) tellOpen(reason string) {
	r.showBreaker()
	r.Log.Error("Breaker opened: the app refuses every webhook, held ones stay where they are", "reason", reason, "limit", r.Config.BreakerLimit.String())
	r.BreakerChanged()
	loop.Poke(r.renew)
}

// failAll gives up suspects for which no 2xx has spoken.
func (r *Replay) failAll(suspects []*inHand) {
	for _, h := range suspects {
		r.fail(h, h.attempt, h.reason, true)
	}
}

// locked makes a lane wait whose head was sealed with a key that this replica
// lacks, and asks that its lease goes to a replica with the key.
func (r *Replay) locked(ctx context.Context, l *lane, h *inHand) step {
	r.park(l)
	r.needKey(ctx, h)
	if !loop.Tick(ctx, lockedWait, nil) {
		return leave // another replica takes over, most likely
	}
	if r.toldLocked(h.row.Locked) {
		r.Log.Error("Held webhook is sealed with a key that no living replica has, its lane waits; add the key to BUFFER_KEY",
			"key_id", h.row.Locked, "lane", l.name, "queue_id", h.row.QueueID)
	}
	return leave
}

// toldLocked notes that a key is missing and reports whether to log that, which is
// done once a minute.
func (r *Replay) toldLocked(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.missing[key]
	now := time.Now()
	say := now.Sub(m.told) >= time.Minute
	if say {
		m.told = now
	}
	m.seen = now
	r.missing[key] = m
	return say
}

// holds reports whether the row's lease is still the one it was claimed under.
func (r *Replay) holds(h *inHand) bool { return r.until(h).After(time.Now()) }

// until returns the time to which the row's lease is trusted, zero when it is
// lost: another replica may have the row.
func (r *Replay) until(h *inHand) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, held := r.leases[h.row.Bucket]; held && l.Epoch == h.row.Epoch && !r.overslept() {
		return l.Until
	}
	return time.Time{}
}

func (r *Replay) fail(h *inHand, attempt int, reason string, suspect bool) {
	w := &h.row.Webhook
	r.Metrics.Replayed.WithLabelValues("failed").Inc()
	r.Log.Error("Webhook given up, kept as failed for the operator", "queue_id", h.row.QueueID, "id", w.ID,
		"source", w.Source, "delivery_id", w.DeliveryID, "attempt", attempt, "reason", reason)
	r.mark(h, buffer.Failed, attempt, reason, suspect)
	loop.Poke(r.flush)
}
