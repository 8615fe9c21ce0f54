package senders

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Stamp is what Sluice vouches for about one attempt, as the texts of its
// header fields, so that what is signed is what is sent.
type Stamp struct {
	ID         string // Sluice-Id
	Attempt    string // Sluice-Attempt: "1", "2", ...
	ReceivedAt string // Sluice-Received-At: RFC 3339, with or without a fraction
	Verified   string // Sluice-Verified: the sender whose signature was right, "" when none was checked
}

const sluiceSignature = "Sluice-Signature"

// Sign returns the value of Sluice-Signature for one attempt with body:
//
//	v1=hex(HMAC-SHA256(secret, id "." attempt "." received-at "." verified "." body))
//
// Verified is under the signature because the app decides by it: without it, a
// signed request to a route without a secret could be sent to the app a second
// time with another sender's name on it.
func (s Stamp) Sign(secret string, body []byte) string {
	sum := sum256(secret, body, s.ID, ".", s.Attempt, ".", s.ReceivedAt, ".", s.Verified, ".")
	return "v1=" + hex.EncodeToString(sum[:])
}

// VerifySluice checks that one of secrets signed the request that an app got
// from its sidecar, and returns what the sidecar vouches for. The error wraps
// ErrUnsigned or ErrSignature.
//
// An app that trusts a sender's verdict compares Stamp.Verified with the sender
// it expects on that path, never the header field. The signature does not age,
// since a held webhook may come late: the app keeps a repetition from harm by
// doing the work once per Stamp.ID.
func VerifySluice(h Header, body []byte, secrets []string) (Stamp, error) {
	signature := h.Get(sluiceSignature)
	if signature == "" {
		return Stamp{}, errSluiceUnsigned
	}
	digits, prefixed := strings.CutPrefix(signature, "v1=")
	sum, readable := hexSum(digits)
	if !prefixed || !readable {
		return Stamp{}, errSluiceMalformed
	}
	stamp := Stamp{
		ID:         h.Get("Sluice-Id"),
		Attempt:    h.Get("Sluice-Attempt"),
		ReceivedAt: h.Get("Sluice-Received-At"),
		Verified:   h.Get("Sluice-Verified"),
	}
	if err := stamp.check(); err != nil {
		return Stamp{}, err
	}
	if !signedBy(&sum, secrets, body, stamp.ID, ".", stamp.Attempt, ".", stamp.ReceivedAt, ".", stamp.Verified, ".") {
		return Stamp{}, errSluiceMismatch
	}
	return stamp, nil
}

// check keeps the fields from running into one another: the dots between them
// mean something only while no field but the time holds one, and a time that
// was cut at its fraction or had part of the body added does not parse.
func (s Stamp) check() error {
	if s.ID == "" || strings.Contains(s.ID, ".") || strings.Contains(s.Verified, ".") {
		return errSluiceFields
	}
	if n, err := strconv.ParseUint(s.Attempt, 10, 31); err != nil || n == 0 {
		return errSluiceFields
	}
	if _, err := time.Parse(time.RFC3339Nano, s.ReceivedAt); err != nil {
		return errSluiceFields
	}
	return nil
}

var (
	errSluiceUnsigned  = unsigned(sluiceSignature)
	errSluiceMalformed = malformed(sluiceSignature)
	errSluiceMismatch  = mismatch(sluiceSignature)
	errSluiceFields    = fmt.Errorf("%w: unreadable Sluice-Id, Sluice-Attempt, Sluice-Received-At or Sluice-Verified", ErrSignature)
)
