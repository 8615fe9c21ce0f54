package ingress

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/internal/webhook"
	"sluice/sidecar/senders"
)

// arrival is a webhook that has been read whole.
type arrival struct {
	route *route
	hook  webhook.Webhook
	body  *body
	sync  bool
	retry bool // the sender calls it a repetition of an earlier delivery
	// shake is the answer to a handshake, for when the app is away.
	shake *senders.Answer
}

// maxPatience is how long a webhook waits in memory for a lane that is about
// to open, and waits never eat more than a fifth of the sender's budget.
const maxPatience = 500 * time.Millisecond

// take is the way of a webhook, from its capture to its answer. The caller
// writes the reply and then ends it.
func (in *Ingress) take(ctx context.Context, route *route, head webhook.Head, b *body) reply {
	now := time.Now()
	a := &arrival{route: route, body: b, sync: route.Sync}
	a.hook = webhook.Webhook{Source: route.Source, Head: head, Body: b.bytes, ReceivedAt: now.UTC().Truncate(time.Microsecond)} // as PostgreSQL keeps it
	if refusal, ok := in.recognise(a, now); !ok {
		return refusal
	}
	id, err := uuid.NewV7()
	if err != nil {
		return in.refuse(a, "no randomness for an id")
	}
	a.hook.ID = id.String()
	deadline := now.Add(route.Budget)
	if a.sync || a.shake != nil {
		return in.answerNow(ctx, a, deadline)
	}
	a.hook.Lane = in.lane(a.hook.Source, b.bytes)
	patience := now.Add(min(maxPatience, route.Budget/5))
	for {
		verdict, opened := in.Gate.Enter(a.hook.Lane, time.Now().Before(patience))
		switch verdict {
		case gate.Forward:
			if !a.retry {
				return in.forward(ctx, a, deadline)
			}
			// Its first copy may be under way to the app: the queue knows, and
			// takes the two for one.
			in.Gate.Divert(a.hook.Lane)
			return in.hold(ctx, a)
		case gate.Hold:
			return in.hold(ctx, a)
		case gate.Wait:
			wait(ctx, opened, patience)
		case gate.Refuse:
			return in.refuse(a, "this replica takes no more webhooks")
		}
	}
}

func wait(ctx context.Context, opened <-chan struct{}, until time.Time) {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-opened:
	case <-t.C:
	case <-ctx.Done():
	}
}

// recognise verifies the signature and reads what the sender says about the
// delivery. It returns false with the answer for one that is not genuine.
func (in *Ingress) recognise(a *arrival, now time.Time) (reply, bool) {
	r := senders.Request{Method: a.hook.Head.Method(), URL: a.hook.Head.URL(), Header: a.hook.Head, Body: a.body.bytes}
	sender, open := a.route.Sender, a.route.Sender.Traits().OpenHandshake
	if open {
		a.shake = handshake(a.route, r)
	}
	if len(a.route.Secrets) > 0 && a.shake == nil {
		if err := sender.Verify(r, a.route.Secrets, now); err != nil {
			a.route.rejected.Inc()
			return textReply(401, err.Error()), false
		}
		a.hook.Verified = a.route.Source
	}
	if !open {
		a.shake = handshake(a.route, r)
	}
	id := sender.Identify(r)
	a.hook.DeliveryID, a.hook.Event = id.DeliveryID, id.Event
	a.sync, a.retry = a.sync || id.Sync, id.Retry
	return reply{}, true
}

func handshake(route *route, r senders.Request) *senders.Answer {
	h, ok := route.Sender.(senders.Handshaker)
	if !ok {
		return nil
	}
	if answer, ok := h.Handshake(r, route.Verify); ok {
		return &answer
	}
	return nil
}

// forward sends the webhook to the app, whose answer goes back as it is. What
// the app could not take is held instead.
func (in *Ingress) forward(ctx context.Context, a *arrival, deadline time.Time) reply {
	e, err := in.Upstream.Send(&a.hook, 1, false, deadline)
	if err == nil {
		var resp *upstream.Response
		if resp, err = e.Await(deadline); err == nil {
			if !awayStatus(resp.Status) {
				a.route.forwarded.Inc()
				return reply{status: resp.Status, id: a.hook.ID, fields: resp.Fields, length: resp.Length, exchange: e, done: in.Gate.Leave}
			}
			e.Close()
		}
	}
	switch {
	case errors.Is(err, upstream.ErrLate):
		return in.holdLate(ctx, a, e)
	case errors.Is(err, upstream.ErrDial):
		in.AppDown(err)
	default:
		a.hook.Attempts = 1
	}
	in.Gate.Divert(a.hook.Lane)
	return in.hold(ctx, a)
}

// awayStatus reports whether an app that answers so is taken to be away.
func awayStatus(status int) bool { return status == 502 || status == 503 || status == 504 }

// hold stores the webhook and acknowledges it. The gate counts it already.
func (in *Ingress) hold(ctx context.Context, a *arrival) reply {
	receipt, ok := in.store(ctx, a, in.Keeper.Append)
	if !ok {
		return in.refuse(a, "it can't be stored now")
	}
	a.route.held.Inc()
	in.Log.Info("Webhook queued to PostgreSQL for drain-time replay", "source", a.hook.Source,
		"delivery_id", a.hook.DeliveryID, "queue_id", receipt.QueueID, "id", receipt.ID, "duplicate", receipt.Duplicate)
	in.Kick()
	return heldReply(a.route.Status, receipt.ID)
}

// holdLate stores a webhook that the app has not answered within the sender's
// budget, acknowledges it, and leaves the app to finish.
func (in *Ingress) holdLate(ctx context.Context, a *arrival, e *upstream.Exchange) reply {
	a.hook.Attempts = 1
	in.Gate.HoldBeside(a.hook.Lane)
	receipt, ok := in.store(ctx, a, in.Keeper.AppendAwaited)
	if !ok {
		e.Close()
		in.Gate.Leave()
		return in.refuse(a, "the app is slow and it can't be stored now")
	}
	a.route.late.Inc()
	in.Log.Warn("App is late, webhook acknowledged and its answer awaited", "source", a.hook.Source,
		"delivery_id", a.hook.DeliveryID, "queue_id", receipt.QueueID, "id", receipt.ID)
	in.late.Add(1)
	go in.awaitLate(e, receipt)
	return heldReply(a.route.Status, receipt.ID)
}

// awaitLate settles a webhook by the app's late answer.
func (in *Ingress) awaitLate(e *upstream.Exchange, receipt buffer.Receipt) {
	defer in.late.Done()
	defer in.Gate.Leave()
	resp, err := e.Await(time.Now().Add(in.Config.AppAnswerTimeout))
	completed, reason := err == nil && resp.Status/100 == 2, ""
	switch {
	case err != nil:
		reason = err.Error()
	case !completed:
		reason = "app answered late and not with 2xx"
	}
	e.Close()
	if receipt.Duplicate {
		return // the row is its first copy's, whoever awaits or delivers that
	}
	// While the database is away the row stays ours; it returns to pending by
	// itself when this replica is gone.
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := in.Keeper.SettleAwaited(ctx, receipt.QueueID, completed, reason)
		cancel()
		if err == nil || in.Gate.State() == stopped {
			in.Kick()
			return
		}
		in.Log.Warn("Late answer can't be recorded yet", "queue_id", receipt.QueueID, "err", err)
		pause(wait)
	}
}

// store appends the webhook and tells the gate how that ended. It returns false
// when nothing may be acknowledged.
func (in *Ingress) store(ctx context.Context, a *arrival, keep func(context.Context, *webhook.Webhook) (buffer.Receipt, error)) (buffer.Receipt, bool) {
	v := in.Vitals()
	if v.Full || v.FullUnverified && a.hook.Verified == "" {
		in.Gate.Dropped(a.hook.Lane)
		in.Log.Error("Webhook refused, the queue is at its limit (HOLD_MAX_ROWS, HOLD_MAX_BYTES, HOLD_MAX_UNVERIFIED_BYTES)",
			"source", a.hook.Source, "delivery_id", a.hook.DeliveryID)
		return buffer.Receipt{}, false
	}
	// A sender that hangs up must not undo what may already be committed.
	receipt, err := keep(context.WithoutCancel(ctx), &a.hook)
	if err != nil {
		a.body.keep()
		in.Gate.Dropped(a.hook.Lane)
		in.Log.Error("Webhook refused, it could not be stored", "source", a.hook.Source, "delivery_id", a.hook.DeliveryID, "err", err)
		return buffer.Receipt{}, false
	}
	return receipt, in.Gate.Kept(a.hook.Lane)
}

// answerNow serves a request whose answer matters: the app's within the budget,
// else the handshake's, else the sender's own form of "not now".
func (in *Ingress) answerNow(ctx context.Context, a *arrival, deadline time.Time) reply {
	for {
		answer, final := in.askNow(a, deadline)
		if final {
			return answer
		}
		if a.shake != nil || in.Gate.State() == lifecycle.Draining || !time.Now().Before(deadline) || ctx.Err() != nil {
			return in.decline(a)
		}
		pause(syncEvery)
	}
}

// syncEvery is how often a request whose answer matters looks for the app.
const syncEvery = 25 * time.Millisecond

// askNow asks the app once. It returns false when the app can't be reached.
func (in *Ingress) askNow(a *arrival, deadline time.Time) (reply, bool) {
	if !in.Gate.Join() {
		return reply{}, false
	}
	e, err := in.Upstream.Send(&a.hook, 1, false, deadline)
	if err == nil {
		var resp *upstream.Response
		if resp, err = e.Await(deadline); err == nil && !awayStatus(resp.Status) {
			a.route.forwarded.Inc()
			return reply{status: resp.Status, id: a.hook.ID, fields: resp.Fields, length: resp.Length, exchange: e, done: in.Gate.Leave}, true
		}
		e.Close()
	}
	in.Gate.Leave()
	if errors.Is(err, upstream.ErrDial) {
		in.AppDown(err)
		return reply{}, false
	}
	return in.decline(a), true // it has been asked; twice might do the thing twice
}

// decline answers in the app's place.
func (in *Ingress) decline(a *arrival) reply {
	if a.shake != nil {
		a.route.handshake.Inc()
		return answerReply(*a.shake)
	}
	if d, ok := a.route.Sender.(senders.Decliner); ok {
		r := senders.Request{Method: a.hook.Head.Method(), URL: a.hook.Head.URL(), Header: a.hook.Head, Body: a.body.bytes}
		if answer, ok := d.Decline(r); ok {
			a.route.refused.Inc()
			return answerReply(answer)
		}
	}
	return in.refuse(a, "the app is away and this request needs its answer")
}

func (in *Ingress) refuse(a *arrival, why string) reply {
	a.route.refused.Inc()
	return retryLater(why)
}
