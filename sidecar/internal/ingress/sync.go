package ingress

import (
	"context"
	"errors"
	"time"

	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/internal/wire"
	"sluice/sidecar/senders"
)

// answerSync answers a request whose sender needs the answer: with the app's answer
// within the budget, else with the handshake's, else by declining.
func (in *Ingress) answerSync(ctx context.Context, a *arrival, deadline time.Time) wire.Reply {
	for {
		answer, final := in.askApp(a, deadline)
		if final {
			return answer
		}
		if a.shake != nil || in.Gate.State() == lifecycle.Draining || !time.Now().Before(deadline) || ctx.Err() != nil {
			return in.decline(a)
		}
		<-time.After(syncEvery)
	}
}

// syncEvery is how often such a request tries to reach the app.
const syncEvery = 25 * time.Millisecond

// askApp asks the app once. It returns false when the app can't be reached.
func (in *Ingress) askApp(a *arrival, deadline time.Time) (wire.Reply, bool) {
	if !a.join() {
		return wire.Reply{}, false
	}
	e, err := in.Upstream.Send(&a.hook, 1, false, deadline)
	if err == nil {
		var resp *upstream.Response
		if resp, err = e.Await(deadline); err == nil && !awayStatus(resp.Status) {
			return in.relay(a, e, resp), true
		}
		e.Close()
	}
	a.leave()
	if errors.Is(err, upstream.ErrDial) {
		in.AppDown(err)
		return wire.Reply{}, false
	}
	return in.decline(a), true // the app may have done it already; never ask twice
}

// decline answers in place of the app: with the handshake's answer, the sender's
// own form of "not now", or 503.
func (in *Ingress) decline(a *arrival) wire.Reply {
	if a.shake != nil {
		a.route.handshake.Inc()
		return answerReply(*a.shake)
	}
	if d, ok := a.route.Sender.(senders.Decliner); ok {
		if answer, ok := d.Decline(a.request()); ok {
			a.route.refused.Inc()
			in.noteRefusal(a.route, appAway, "")
			return answerReply(answer)
		}
	}
	return in.refuseFor(a, appAway, "the app is away and this request needs its answer")
}
