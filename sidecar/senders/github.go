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

const githubSignature = "X-Hub-Signature-256"

var (
	errGithubUnsigned  = unsigned(githubSignature)
	errGithubMalformed = malformed(githubSignature)
	errGithubMismatch  = mismatch(githubSignature)
)

func (github) Traits() Traits {
	return Traits{
		Name:       "github",
		SecretVar:  "GITHUB_WEBHOOK_SECRET",
		Budget:     8 * time.Second,
		HoldStatus: 202,
	}
}

func (github) Verify(r Request, secrets []string, _ time.Time) error {
	signature := r.Header.Get(githubSignature)
	if signature == "" {
		return errGithubUnsigned
	}
	digits, prefixed := strings.CutPrefix(signature, "sha256=")
	sum, readable := hexSum(digits)
	if !prefixed || !readable {
		return errGithubMalformed
	}
	if !signedBy(&sum, secrets, r.Body) {
		return errGithubMismatch
	}
	return nil
}

func (github) Identify(r Request) Identity {
	// Spelled as net/http keeps them, or each Get would allocate.
	return Identity{
		DeliveryID: name(r.Header.Get("X-Github-Delivery")),
		Event:      name(r.Header.Get("X-Github-Event")),
	}
}
