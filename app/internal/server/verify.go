package server

import (
	"net/http"
	"time"

	"sluice/sidecar/senders"
)

// origin is what is known of where a webhook comes from.
type origin struct {
	// trusted: the Sluice-* fields are the sidecar's word. With SLUICE_SECRET
	// they are signed; without, whoever reaches the app's port is believed.
	trusted bool
}

// verify holds the webhook against its sender's secret, or takes the sidecar's
// signed word that it did so at receipt: a held webhook may reach the app
// hours later, when the sender's own signature is too old.
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
