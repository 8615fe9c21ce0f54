package senders

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// standard: https://github.com/standard-webhooks/standard-webhooks, as sent by
// Svix and many others, under either set of header names.
//
// A secret is "whsec_" and base64, for v1; "whpk_" and base64 is the public key
// of a sender that signs with Ed25519, for v1a.
type standard struct{}

func init() { register(standard{}) }

// standardFields names the three fields. All three are taken from one set: the
// signature of one set says nothing about the id of the other.
type standardFields struct{ id, at, signature string }

var (
	webhookFields = standardFields{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"}
	svixFields    = standardFields{"Svix-Id", "Svix-Timestamp", "Svix-Signature"}

	errStandardUnsigned  = unsigned("Webhook-Id, Webhook-Timestamp or Webhook-Signature")
	errStandardMalformed = malformed("Webhook-Signature")
	errStandardMismatch  = mismatch("Webhook-Signature")
)

func fieldsOf(h Header) standardFields {
	if h.Get(webhookFields.signature) == "" && h.Get(svixFields.signature) != "" {
		return svixFields
	}
	return webhookFields
}

func (standard) Traits() Traits {
	return Traits{
		Name:          "standard",
		SecretVar:     "STANDARD_WEBHOOK_SECRET",
		Budget:        12 * time.Second,
		HoldStatus:    202,
		RetriesItself: true,
		Marks:         standardMarks,
		SharedMarks:   true,
	}
}

var standardMarks = []string{webhookFields.signature, svixFields.signature}

func (standard) Verify(r Request, secrets []string, now time.Time) error {
	return verifyStandard(r, fieldsOf(r.Header), secrets, now)
}

func (standard) Resign(r Request, secret string, now time.Time) []Field {
	return resignStandard(r, fieldsOf(r.Header), secret, now)
}

func (standard) Identify(r Request) Identity {
	return Identity{
		DeliveryID: name(r.Header.Get(fieldsOf(r.Header).id)),
		Event:      text(r.Body, "type"),
	}
}

func verifyStandard(r Request, f standardFields, secrets []string, now time.Time) error {
	if repeated(r.Header, f.id, f.at, f.signature) {
		return errRepeated
	}
	id, at, list := r.Header.Get(f.id), r.Header.Get(f.at), r.Header.Get(f.signature)
	if id == "" || at == "" || list == "" {
		return errStandardUnsigned
	}
	if err := checkAge(at, now); err != nil {
		return err
	}
	if !strings.Contains(list, "v1,") && !strings.Contains(list, "v1a,") {
		return errStandardMalformed
	}
	for _, secret := range secrets {
		var ok bool
		if public, asymmetric := strings.CutPrefix(secret, "whpk_"); asymmetric {
			ok = standardListsEd25519(list, public, id, at, r.Body)
		} else {
			ok = standardKey(secret, f, r) != ""
		}
		if ok {
			return nil
		}
	}
	return errStandardMismatch
}

// resignStandard returns nothing for a public key: only its owner can sign. A
// sender that gives one statement under both sets of names gets both afresh,
// since the app's library may read either.
func resignStandard(r Request, f standardFields, secret string, now time.Time) []Field {
	if strings.HasPrefix(secret, "whpk_") {
		return nil
	}
	key := standardKey(secret, f, r)
	if key == "" {
		key = standardKeys(secret)[0] // the list may hold the other secret's signature alone
	}
	if key == "" {
		return nil
	}
	at := strconv.FormatInt(now.Unix(), 10)
	sum := sum256(key, r.Body, r.Header.Get(f.id), ".", at, ".")
	signature := "v1," + base64.StdEncoding.EncodeToString(sum[:])
	fields := []Field{{f.at, at}, {f.signature, signature}}
	if f == webhookFields && r.Header.Get(svixFields.signature) == r.Header.Get(f.signature) &&
		r.Header.Get(svixFields.id) == r.Header.Get(f.id) {
		fields = append(fields, Field{svixFields.at, at}, Field{svixFields.signature, signature})
	}
	return fields
}

// standardKeys are the readings of a secret, "" for none. After "whsec_" it is
// base64, or what it is where it is none. Without that prefix nothing says which of
// the two the sender means: BigCommerce's client secrets are used as they are, and
// many of them would decode.
func standardKeys(secret string) [2]string {
	encoded, prefixed := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	switch {
	case err != nil:
		return [2]string{encoded}
	case prefixed:
		return [2]string{string(key)}
	default:
		return [2]string{string(key), encoded}
	}
}

// standardKey is the reading that has signed r, "" when none has.
func standardKey(secret string, f standardFields, r Request) string {
	id, at, list := r.Header.Get(f.id), r.Header.Get(f.at), r.Header.Get(f.signature)
	for _, key := range standardKeys(secret) {
		if key == "" {
			continue
		}
		if sum := sum256(key, r.Body, id, ".", at, "."); standardLists(list, &sum) {
			return key
		}
	}
	return ""
}

func standardLists(list string, want *[sha256.Size]byte) bool {
	for item := range strings.SplitSeq(list, " ") {
		value, ok := strings.CutPrefix(item, "v1,")
		if !ok {
			continue
		}
		if sum, ok := base64Sum(value); ok && subtle.ConstantTimeCompare(sum[:], want[:]) == 1 {
			return true
		}
	}
	return false
}

// maxEd25519Tries bounds what a list of forged signatures can cost: checking
// one takes far longer than comparing two sums.
const maxEd25519Tries = 4

func standardListsEd25519(list, public, id, at string, body []byte) bool {
	key, err := base64.StdEncoding.DecodeString(public)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return false
	}
	var message []byte
	tries := 0
	for item := range strings.SplitSeq(list, " ") {
		value, ok := strings.CutPrefix(item, "v1a,")
		if !ok || tries == maxEd25519Tries {
			continue
		}
		signature, err := base64.StdEncoding.DecodeString(value)
		if err != nil || len(signature) != ed25519.SignatureSize {
			continue
		}
		tries++
		if message == nil {
			message = append([]byte(id+"."+at+"."), body...)
		}
		if ed25519.Verify(key, message, signature) {
			return true
		}
	}
	return false
}
