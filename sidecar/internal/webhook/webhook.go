// Package webhook is a received request in a form that can be stored, compared and
// sent again byte for byte.
//
// It is pure: it imports no listener, no database driver and no clock. It must never
// decide what happens to a webhook. ingress creates one, buffer stores it, upstream
// sends it to the app.
package webhook

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"sluice/sidecar/internal/request"
)

// Webhook is one received request, as it will reach the app.
type Webhook struct {
	ID         string       // UUIDv7 given at receipt: the Sluice-Id of every attempt
	Source     string       // the route's sender, "github"
	DeliveryID string       // the sender's own id of the delivery, "" when it gave none
	Event      string       // the event's name, "" when unknown
	Lane       string       // the source, or the source and a key; order is kept within a lane
	Verified   string       // the sender's name when its signature was checked and valid, else ""
	Head       request.Head // request line and header fields
	Body       []byte       // the exact bytes
	ReceivedAt time.Time    // UTC
	Attempts   int          // deliveries tried before it was stored
}

// DedupeKey returns a hash of source, Host, target, delivery id and body, and true.
// A webhook without a delivery id has no key. Two webhooks with the same key are
// copies of one delivery. Host and target are part of the key because a sender may
// use one id for several addresses: GitHub's X-GitHub-Delivery is the same for all
// webhooks that subscribe to one event.
func (w *Webhook) DedupeKey() ([32]byte, bool) {
	if w.DeliveryID == "" {
		return [32]byte{}, false
	}
	h := sha256.New()
	part := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	part([]byte(w.Source))
	part(w.Head.Authority())
	part([]byte(w.Head.URI()))
	part([]byte(w.DeliveryID))
	h.Write(w.Body)
	return [32]byte(h.Sum(nil)), true
}
