package senders

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// stripe: https://docs.stripe.com/webhooks/signature
//
// One field carries the time and any number of signatures, one for each secret
// that is valid while an endpoint's secret is rolled.
type stripe struct{}

func init() { register(stripe{}) }

const stripeSignature = "Stripe-Signature"

var (
	errStripeUnsigned  = unsigned(stripeSignature)
	errStripeMalformed = malformed(stripeSignature)
	errStripeMismatch  = mismatch(stripeSignature)
)

func (stripe) Traits() Traits {
	return Traits{
		Name:          "stripe",
		SecretVar:     "STRIPE_WEBHOOK_SECRET",
		Budget:        8 * time.Second,
		HoldStatus:    200,
		RetriesItself: true,
		Marks:         stripeMarks,
	}
}

var stripeMarks = []string{stripeSignature}

func (stripe) Verify(r Request, secrets []string, now time.Time) error {
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

func (stripe) Resign(r Request, secret string, now time.Time) []Field {
	at := strconv.FormatInt(now.Unix(), 10)
	sum := sum256(secret, r.Body, at, ".")
	return []Field{{stripeSignature, "t=" + at + ",v1=" + hex.EncodeToString(sum[:])}}
}

func (stripe) Identify(r Request) Identity {
	return Identity{DeliveryID: text(r.Body, "id"), Event: text(r.Body, "type")}
}
