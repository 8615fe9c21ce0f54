package ingress

import (
	"context"
	"errors"
	"time"

	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/senders"
)

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
	if !a.join() {
		return reply{}, false
	}
	e, err := in.Upstream.Send(&a.hook, 1, false, deadline)
	if err == nil {
		var resp *upstream.Response
		if resp, err = e.Await(deadline); err == nil && !awayStatus(resp.Status) {
			in.Answered(resp.Status, a.hook.Verified != "")
			a.route.forwarded.Inc()
			return reply{status: resp.Status, id: a.hook.ID, fields: resp.Fields, length: resp.Length, exchange: e, done: a.lend()}, true
		}
		e.Close()
	}
	a.leave()
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
			in.note(a.route, appAway, "")
			return answerReply(answer)
		}
	}
	return in.refuseFor(a, appAway, "the app is away and this request needs its answer")
}
