package senders

import (
	"strings"
	"time"
)

// generic is any sender without a scheme of its own here. Without a header it
// has no secret and verifies nothing; with one, the header carries the plain
// HMAC-SHA256 of the body, in hex (bare or after "sha256=") or in base64.
type generic struct {
	header, secretVar             string
	unsigned, malformed, mismatch error
}

func init() { register(generic{}) }

// GenericHMAC returns the sender of a route such as
// "/hooks/ci=generic:X-Signature": it verifies the plain HMAC-SHA256 of the
// body in that header with the secrets in the environment variable secretVar.
// It is not in the registry.
func GenericHMAC(header, secretVar string) Sender {
	return generic{
		header:    header,
		secretVar: secretVar,
		unsigned:  unsigned(header),
		malformed: malformed(header),
		mismatch:  mismatch(header),
	}
}

// RetriesItself stays false: nothing is known of a second copy, so it passes.
func (g generic) Traits() Traits {
	return Traits{
		Name:       "generic",
		SecretVar:  g.secretVar,
		Budget:     8 * time.Second,
		HoldStatus: 202,
	}
}

func (g generic) Verify(r Request, secrets []string, _ time.Time) error {
	if g.header == "" {
		return errNothingToVerify
	}
	if repeated(r.Header, g.header) {
		return errRepeated
	}
	signature := r.Header.Get(g.header)
	if signature == "" {
		return g.unsigned
	}
	signature = strings.TrimPrefix(signature, "sha256=")
	sum, readable := hexSum(signature)
	if !readable {
		sum, readable = base64Sum(signature)
	}
	if !readable {
		return g.malformed
	}
	if !signedBy(&sum, secrets, r.Body) {
		return g.mismatch
	}
	return nil
}

var errNothingToVerify = unsigned("header named to carry one")

// The names that senders without a file here use most, the most telling first.
// X-Webhook-Id is not among them: it often names the hook, not the delivery.
var (
	genericIDs    = []string{"Idempotency-Key", "X-Delivery-Id", "X-Request-Uuid", "X-Gitea-Delivery"}
	genericEvents = []string{"X-Event-Type", "X-Event-Key", "X-Event-Name", "X-Gitea-Event"}
)

func (generic) Identify(r Request) Identity {
	return Identity{DeliveryID: firstName(r.Header, genericIDs), Event: firstName(r.Header, genericEvents)}
}

func firstName(h Header, fields []string) string {
	for _, field := range fields {
		if value := name(h.Get(field)); value != "" {
			return value
		}
	}
	return ""
}
