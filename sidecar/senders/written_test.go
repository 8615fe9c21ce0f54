package senders

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"time"
)

// What GitHub's, Slack's and Stripe's schemes replaced, written by hand: what
// BenchmarkVerify measures the schemes against and TestSchemesAgreeWithCode
// compares their verdicts with.

const (
	hubSignature    = "X-Hub-Signature-256"
	slackSignature  = "X-Slack-Signature"
	slackTimestamp  = "X-Slack-Request-Timestamp"
	stripeSignature = "Stripe-Signature"
)

var (
	errHubUnsigned     = unsigned(hubSignature)
	errHubMalformed    = malformed(hubSignature)
	errHubMismatch     = mismatch(hubSignature)
	errSlackUnsigned   = unsigned(slackSignature)
	errSlackUndated    = unsigned(slackTimestamp)
	errSlackMalformed  = malformed(slackSignature)
	errSlackMismatch   = mismatch(slackSignature)
	errStripeUnsigned  = unsigned(stripeSignature)
	errStripeMalformed = malformed(stripeSignature)
	errStripeMismatch  = mismatch(stripeSignature)
)

// written is the code by the sender it was for.
var written = map[string]func(r Request, secrets []string, now time.Time) error{
	"github": func(r Request, secrets []string, _ time.Time) error { return writtenHub(r, secrets) },
	"slack":  writtenSlack,
	"stripe": writtenStripe,
}

func writtenHub(r Request, secrets []string) error {
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

func writtenSlack(r Request, secrets []string, now time.Time) error {
	if repeated(r.Header, slackSignature, slackTimestamp) {
		return errRepeated
	}
	signature, at := r.Header.Get(slackSignature), r.Header.Get(slackTimestamp)
	switch {
	case signature == "":
		return errSlackUnsigned
	case at == "":
		return errSlackUndated
	}
	if err := checkAge(at, now); err != nil {
		return err
	}
	digits, prefixed := strings.CutPrefix(signature, "v0=")
	sum, readable := hexSum(digits)
	if !prefixed || !readable {
		return errSlackMalformed
	}
	if !signedBy(&sum, secrets, r.Body, "v0:", at, ":") {
		return errSlackMismatch
	}
	return nil
}

func writtenStripe(r Request, secrets []string, now time.Time) error {
	if repeated(r.Header, stripeSignature) {
		return errRepeated
	}
	list := r.Header.Get(stripeSignature)
	if list == "" {
		return errStripeUnsigned
	}
	at, signed := readStripe(list)
	if !signed {
		return errStripeMalformed
	}
	if err := checkAge(at, now); err != nil {
		return err
	}
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		want := sum256(secret, r.Body, at, ".")
		if stripeLists(list, &want) {
			return nil
		}
	}
	return errStripeMismatch
}

// readStripe returns the timestamp, and whether any signature is readable, so
// that junk costs no hash.
func readStripe(list string) (at string, signed bool) {
	for item := range strings.SplitSeq(list, ",") {
		if value, ok := strings.CutPrefix(item, "t="); ok {
			at = value
		}
		if value, ok := strings.CutPrefix(item, "v1="); ok && !signed {
			_, signed = hexSum(value)
		}
	}
	return at, signed
}

func stripeLists(list string, want *[sha256.Size]byte) bool {
	for item := range strings.SplitSeq(list, ",") {
		value, ok := strings.CutPrefix(item, "v1=")
		if !ok {
			continue
		}
		if sum, ok := hexSum(value); ok && subtle.ConstantTimeCompare(sum[:], want[:]) == 1 {
			return true
		}
	}
	return false
}
