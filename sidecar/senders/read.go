package senders

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// maxName bounds ids and event names: they end up in an index and in logs.
const maxName = 255

// name returns s where it is fit to be stored and compared, else "". A text
// column takes neither NUL nor what is not UTF-8, so a header or a body that
// carries either must not become a name.
func name(s string) string {
	if len(s) > maxName || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return ""
	}
	return s
}

// text reads one string or number of a JSON body by its path.
func text(body []byte, path string) string {
	switch v := gjson.GetBytes(body, path); v.Type {
	case gjson.String, gjson.Number:
		return name(v.String())
	default:
		return ""
	}
}

// tolerance is the age at which every sender that signs a timestamp lets its
// signature expire. It is measured both ways: one from the future would
// otherwise stay valid for as long as it is ahead.
const tolerance = 5 * time.Minute

// checkAge measures a timestamp in Unix seconds against the time of receipt.
func checkAge(seconds string, now time.Time) error {
	at, ok := parseTime(seconds, unitSeconds)
	if !ok {
		return errTimestamp
	}
	if age := now.Sub(at); age > tolerance || age < -tolerance {
		return errStale
	}
	return nil
}

// repeated reports whether one of the fields is there more than once. No sender
// here signs with several fields of one name: where one needs several signatures
// (Stripe, Standard Webhooks) they are a list in one field. What verifies the
// first value would let through a request whose last one an app's library reads.
func repeated(h Header, fields ...string) bool {
	counts, quick := h.(interface{ Count(name string) int })
	for _, field := range fields {
		n := 0
		if quick {
			n = counts.Count(field)
		} else {
			n = len(h.Values(field))
		}
		if n > 1 {
			return true
		}
	}
	return false
}

// The verdicts are made once: a flood of forged requests should cost no more
// than the hash.
var (
	errRepeated  = fmt.Errorf("%w: a header field that belongs to it is there more than once", ErrSignature)
	errTimestamp = fmt.Errorf("%w: unreadable timestamp", ErrSignature)
	errStale     = staleBeyond(tolerance)
)

func staleBeyond(d time.Duration) error {
	return fmt.Errorf("%w: its timestamp is more than %v from the time of receipt", ErrStale, d)
}

func unsigned(field string) error  { return fmt.Errorf("%w: no %s", ErrUnsigned, field) }
func malformed(field string) error { return fmt.Errorf("%w: unreadable %s", ErrSignature, field) }
func mismatch(field string) error {
	return fmt.Errorf("%w: %s matches no configured secret", ErrSignature, field)
}

// isForm and isJSON go by the media type alone, without its parameters.
func isForm(h Header) bool { return mediaType(h) == "application/x-www-form-urlencoded" }

func mediaType(h Header) string {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// formValue returns the first value of key in a form body, without reading the
// rest of it into a map.
func formValue(body []byte, key string) (string, bool) {
	for len(body) > 0 {
		var pair []byte
		pair, body, _ = bytes.Cut(body, []byte("&"))
		k, v, _ := bytes.Cut(pair, []byte("="))
		if string(k) == key {
			value, err := url.QueryUnescape(string(v))
			return value, err == nil
		}
	}
	return "", false
}
