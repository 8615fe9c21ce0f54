package server

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"sluice/sidecar/routes"
	"sluice/sidecar/senders"
)

// origin is what is known about where a webhook comes from.
type origin struct {
	// trusted: the Sluice-* header fields were set by the sidecar. With
	// SLUICE_SECRET their signature proves that; without it everybody who reaches
	// the app's port is believed.
	trusted bool
	// verified: the sender's signature was verified, here or by the sidecar.
	verified bool
}

var (
	errClosed     = errors.New("no secret is set")
	errOtherRoute = errors.New("the sidecar has another route for this path")
)

// verify checks the webhook with its route's secrets, or accepts the sidecar's
// signed statement that it did so when the webhook arrived: a held webhook may
// reach the app hours later, when the sender's own signature is too old. A route that
// is closed takes nothing else.
func (s *Server) verify(r *http.Request, req senders.Request, route *routes.Route, now time.Time) (origin, error) {
	from := origin{trusted: len(s.c.SluiceSecrets) == 0}
	var refused error
	if !from.trusted && req.Header.Get("Sluice-Signature") != "" {
		from, refused = s.vouched(r, req, route)
		if from.verified {
			return from, nil
		}
	}
	elsewhere := errors.Is(refused, errOtherRoute)
	switch {
	case len(route.Secrets) > 0:
		err := route.Sender.Verify(req, route.Secrets, now)
		if err != nil && elsewhere {
			err = refused // it may only be too old: the routes must be made equal
		}
		from.verified = err == nil
		return from, err
	case refused != nil && !(elsewhere && route.Unverified):
		return from, refused
	case route.Closed():
		return from, errClosed
	}
	return from, nil
}

// vouched returns what the sidecar has signed. It vouches for a verification only on
// the route that the path has here too: two containers with different routes prove
// nothing to each other. A sidecar of the previous release signs no route.
func (s *Server) vouched(r *http.Request, req senders.Request, route *routes.Route) (origin, error) {
	stamp, err := senders.VerifySluice(req.Header, req.Body, s.c.SluiceSecrets)
	if err != nil {
		return origin{}, err
	}
	name, err := senders.VerifyRoute(req.Header, r.Method, r.RequestURI, s.c.SluiceSecrets)
	switch {
	case errors.Is(err, senders.ErrUnsigned):
	case err != nil:
		return origin{}, err
	case name != route.Name:
		return origin{trusted: true}, fmt.Errorf("%w: %s", errOtherRoute, name)
	}
	return origin{trusted: true, verified: stamp.Verified != "" && stamp.Verified == route.Sender.Traits().Name}, nil
}

// senderRequest is the request as its sender addressed it, before any proxy.
func senderRequest(r *http.Request, body []byte) senders.Request {
	scheme, host := "http", r.Host
	if p := r.Header.Get("X-Forwarded-Proto"); p == "https" {
		scheme = p
	}
	if h := r.Header.Get("X-Forwarded-Host"); h != "" {
		host = h
	}
	return senders.Request{
		Method: r.Method,
		URL:    scheme + "://" + host + r.URL.RequestURI(),
		Header: r.Header,
		Body:   body,
	}
}
