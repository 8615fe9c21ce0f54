package senders

import (
	"strings"
	"time"
)

// github: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
//
// GitHub waits 10 s, never retries by itself, and repeats a delivery under its
// old id when a person or the API asks for it: that one must always pass.
type github struct{}

func init() { register(github{}) }

func (github) Traits() Traits {
	return Traits{
		Name:       "github",
		SecretVar:  "GITHUB_WEBHOOK_SECRET",
		Budget:     8 * time.Second,
		HoldStatus: 202,
		Marks:      githubMarks,
	}
}

var githubMarks = []string{"X-Github-Event"}

func (github) Verify(r Request, secrets []string, _ time.Time) error {
	return verifyHub(r, secrets)
}

func (github) Identify(r Request) Identity {
	// Spelled as net/http keeps them, or each Get would allocate.
	return Identity{
		DeliveryID: name(r.Header.Get("X-Github-Delivery")),
		Event:      name(r.Header.Get("X-Github-Event")),
	}
}

// verifyHub checks the scheme that GitHub and Meta share: the HMAC-SHA256 of
// the body, in hex, without a timestamp.
func verifyHub(r Request, secrets []string) error {
	if repeated(r.Header, hubSignature) {
		return errRepeated
	}
	signature := r.Header.Get(hubSignature)
	if signature == "" {
		return errHubUnsigned
	}
	digits, prefixed := strings.CutPrefix(signature, "sha256=")
	sum, readable := hexSum(digits)
	if !prefixed || !readable {
		return errHubMalformed
	}
	if !signedBy(&sum, secrets, r.Body) {
		return errHubMismatch
	}
	return nil
}

const hubSignature = "X-Hub-Signature-256"

var (
	errHubUnsigned  = unsigned(hubSignature)
	errHubMalformed = malformed(hubSignature)
	errHubMismatch  = mismatch(hubSignature)
)
