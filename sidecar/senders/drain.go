package senders

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// POST /drain goes from a sidecar to its app and is signed like a webhook, with
// a purpose of its own in what is signed: the text of a webhook's signature has
// dots in it, this one never has, so neither can serve as the other.
const (
	sluiceTimestamp = "Sluice-Timestamp"
	drainPurpose    = "drain\n"
	drainAge        = time.Minute // either way; the two share a machine and its clock
)

// SignDrain returns the fields of a POST /drain that is sent at now:
// Sluice-Timestamp, in Unix seconds, and Sluice-Signature,
//
//	v1=hex(HMAC-SHA256(secret, "drain\n" timestamp))
func SignDrain(secret string, now time.Time) []Field {
	at := strconv.FormatInt(now.Unix(), 10)
	sum := sum256(secret, nil, drainPurpose, at)
	return []Field{{sluiceTimestamp, at}, {sluiceSignature, "v1=" + hex.EncodeToString(sum[:])}}
}

// VerifyDrain checks that one of secrets signed a POST /drain within the last
// minute. The error wraps ErrUnsigned, ErrSignature or ErrStale.
func VerifyDrain(h Header, secrets []string, now time.Time) error {
	signature, at := h.Get(sluiceSignature), h.Get(sluiceTimestamp)
	switch {
	case signature == "":
		return errSluiceUnsigned
	case at == "":
		return errDrainUndated
	}
	seconds, err := strconv.ParseUint(at, 10, 40)
	if err != nil {
		return errTimestamp
	}
	digits, prefixed := strings.CutPrefix(signature, "v1=")
	sum, readable := hexSum(digits)
	if !prefixed || !readable {
		return errSluiceMalformed
	}
	if !signedBy(&sum, secrets, nil, drainPurpose, at) {
		return errSluiceMismatch
	}
	if age := now.Sub(time.Unix(int64(seconds), 0)).Abs(); age > drainAge { //nolint:gosec // 40 bits
		return errDrainStale
	}
	return nil
}

var (
	errDrainUndated = unsigned(sluiceTimestamp)
	errDrainStale   = fmt.Errorf("%w: its timestamp is more than %v from now", ErrStale, drainAge)
)
