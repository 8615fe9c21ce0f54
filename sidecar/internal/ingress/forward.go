package ingress

import (
	"context"
	"errors"
	"time"

	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/internal/wire"
)

// forward sends the webhook to the app and relays its answer unchanged. A webhook
// that the app could not take is held instead.
func (in *Ingress) forward(ctx context.Context, a *arrival, deadline time.Time) wire.Reply {
	e, err := in.Upstream.Send(&a.hook, 1, false, deadline)
	if err == nil {
		var resp *upstream.Response
		if resp, err = e.Await(deadline); err == nil {
			if !a.route.holds(resp.Status) {
				return in.relay(a, e, resp)
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

// holds reports whether a webhook that the app has answered with this status is
// held: because the app counts as away or, where the route says so, because at
// replay that answer would be tried again.
func (r *route) holds(status int) bool {
	return awayStatus(status) || r.Retry && upstream.Retryable(status)
}

// awayStatus reports whether an app that answers with this status counts as away.
func awayStatus(status int) bool { return status == 502 || status == 503 || status == 504 }

// relay replies with the app's answer.
func (in *Ingress) relay(a *arrival, e *upstream.Exchange, resp *upstream.Response) wire.Reply {
	in.Answered(resp.Status, a.hook.Verified != "")
	a.route.forwarded.Inc()
	leave := a.handOff()
	return wire.Reply{
		Status: resp.Status, Fields: appendID(resp.Fields, a.hook.ID), Relay: e.Body(), Length: resp.Length,
		End: func() { e.Close(); leave() },
	}
}
