package ingress

import (
	"errors"
	"net/http"
	"time"

	"sluice/sidecar/internal/wire"
	"sluice/sidecar/senders"
)

// verify checks the signature and reads what the sender says about the delivery. It
// returns false and the answer when the signature is missing or wrong.
func (in *Ingress) verify(a *arrival, now time.Time) (wire.Reply, bool) {
	r := a.request()
	sender, open := a.route.Sender, a.route.Sender.Traits().OpenHandshake
	if open {
		a.shake = handshake(a.route, r)
	}
	if len(a.route.Secrets) > 0 && a.shake == nil {
		if err := sender.Verify(r, a.route.Secrets, now); err != nil {
			a.route.rejected.Inc()
			in.noteRefusal(a.route, signatureReason(err), err.Error())
			return refusal(sender.Traits(), err), false
		}
		a.hook.Verified = sender.Traits().Name
	}
	if !open {
		a.shake = handshake(a.route, r)
	}
	id := sender.Identify(r)
	a.hook.DeliveryID, a.hook.Event = id.DeliveryID, id.Event
	a.sync, a.retry = a.sync || id.Sync, id.Retry
	return wire.Reply{}, true
}

// refusal answers what Verify rejects, so that a sender for which 401 is final
// comes again: the secret here may be the wrong one.
func refusal(t senders.Traits, err error) wire.Reply {
	switch t.Refuse {
	case 0:
		return wire.Text(http.StatusUnauthorized, err.Error())
	case http.StatusServiceUnavailable:
		return wire.RetryLater(err.Error())
	default:
		return wire.Text(t.Refuse, err.Error())
	}
}

// request returns the webhook in the form that senders takes.
func (a *arrival) request() senders.Request {
	return senders.Request{Method: a.hook.Head.Method(), URL: a.hook.Head.URL(), Header: a.hook.Head, Body: a.hook.Body}
}

// handshake returns the answer to a handshake, nil when r is none.
func handshake(route *route, r senders.Request) *senders.Answer {
	h, ok := route.Sender.(senders.Handshaker)
	if !ok {
		return nil
	}
	answer, ok := h.Handshake(r, route.HandshakeSecrets)
	if !ok {
		return nil
	}
	shake := answer // a copy, so that only a handshake allocates
	return &shake
}

// signatureReason maps the error of a sender's Verify to a reason.
func signatureReason(err error) reason {
	switch {
	case errors.Is(err, senders.ErrUnsigned):
		return unsigned
	case errors.Is(err, senders.ErrStale):
		return stale
	}
	return forged
}
