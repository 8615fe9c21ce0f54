package server

import (
	"net/http"
	"time"

	"sluice/sidecar/senders"
)

// origin is what is known about where a webhook comes from.
type origin struct {
	// trusted: the Sluice-* header fields were set by the sidecar. With
	// SLUICE_SECRET their signature proves that; without it everybody who reaches
	// the app's port is believed.
	trusted bool
}

// verify checks the webhook with its sender's secret, or accepts the sidecar's
// signed statement that it did so when the webhook arrived: a held webhook may
// reach the app hours later, when the sender's own signature is too old.
func (s *Server) verify(req senders.Request, sender senders.Sender, secrets []string, now time.Time) (origin, error) {
	from := origin{trusted: len(s.c.SluiceSecrets) == 0}
	if !from.trusted && req.Header.Get("Sluice-Signature") != "" {
		stamp, err := senders.VerifySluice(req.Header, req.Body, s.c.SluiceSecrets)
		switch {
		case err == nil:
			from.trusted = true
			if stamp.Verified == sender.Traits().Name {
				return from, nil
			}
		case len(secrets) == 0:
			return from, err
		}
	}
	if len(secrets) == 0 {
		return from, nil
	}
	return from, sender.Verify(req, secrets, now)
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
