package ingress

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/internal/webhook"
	"sluice/sidecar/senders"
)

// arrival is a webhook that has been read whole.
type arrival struct {
	passage
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
	a := &arrival{passage: passage{gate: in.Gate}, route: route, body: b, sync: route.Sync}
	defer a.end()
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
	a.lane = in.lane(a.hook.Source, b.bytes)
	a.hook.Lane = a.lane
	patience := now.Add(min(maxPatience, route.Budget/5))
	for patient := true; ; patient = ctx.Err() == nil && time.Now().Before(patience) {
		verdict, opened := a.enter(patient)
		switch verdict {
		case gate.Forward:
			if !a.retry {
				return in.forward(ctx, a, deadline)
			}
			// Its first copy may be under way to the app: the queue knows, and
			// takes the two for one.
			a.divert()
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
			in.note(a.route, signatureReason(err), err.Error())
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
	if answer, ok := h.Handshake(r, route.Handshake); ok {
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
				in.Answered(resp.Status, a.hook.Verified != "")
				a.route.forwarded.Inc()
				return reply{status: resp.Status, id: a.hook.ID, fields: resp.Fields, length: resp.Length, exchange: e, done: a.lend()}
			}
			e.Drop()
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
	a.divert()
	return in.hold(ctx, a)
}

// awayStatus reports whether an app that answers so is taken to be away.
func awayStatus(status int) bool { return status == 502 || status == 503 || status == 504 }

// refuse answers a webhook that can neither be forwarded nor held.
func (in *Ingress) refuse(a *arrival, why string) reply {
	v := in.Vitals()
	switch {
	case in.Gate.State() == stopped || !in.Gate.Permitted():
		return in.refuseFor(a, closed, why)
	case v.Full || v.FullUnverified && a.hook.Verified == "":
		return in.refuseFor(a, full, why)
	}
	return in.refuseFor(a, notStored, why)
}

func (in *Ingress) refuseFor(a *arrival, r reason, why string) reply {
	a.route.refused.Inc()
	in.note(a.route, r, why)
	return retryLater(why)
}
