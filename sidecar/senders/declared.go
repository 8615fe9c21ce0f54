package senders

import (
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"strconv"
	"sync"
	"time"
)

// declared is the sender that a Scheme makes. It is read-only after Compile.
type declared struct {
	scheme    Scheme
	traits    Traits
	signature []extractor
	fields    []string // the header fields that are part of the signature
	token     bool     // MAC is equal
	keys      *sync.Pool
	size      int // of a digest
	encoding  string
	decode    func(dst []byte, text string) bool
	base      template
	url       string
	time      *signedTime // nil for a sender that signs none
	id, event []extractor
	shakes    []shake

	errUnsigned, errMalformed, errMismatch error
}

// signedTime is a compiled Timestamp.
type signedTime struct {
	from       extractor
	unit       string
	tolerance  time.Duration // 0 for none
	errUndated error
	errStale   error
}

// maxCandidates bounds what a list of forged signatures can cost. Vendors send
// one for each secret that is valid.
const maxCandidates = 16

func (d *declared) Traits() Traits { return d.traits }

// LaneKey is that of the traits: package routes asks a sender for it.
func (d *declared) LaneKey() []string { return d.traits.Lane }

func (d *declared) Verify(r Request, secrets []string, now time.Time) error {
	if repeated(r.Header, d.fields...) {
		return errRepeated
	}
	if d.token {
		return d.verifyToken(&r, secrets)
	}
	k := d.keys.Get().(*keyed)
	defer d.keys.Put(k)
	n, err := d.candidates(k, &r)
	if err != nil {
		return err
	}
	at := ""
	if d.time != nil {
		if at, err = d.time.check(&r, now); err != nil {
			return err
		}
	}
	if err := d.complete(&r); err != nil {
		return err
	}
	for _, secret := range secrets {
		sum := d.sum(k, &r, at, secret)
		for i := range k.candidates[:n] {
			if sum != nil && subtle.ConstantTimeCompare(k.candidates[i][:d.size], sum) == 1 {
				return nil
			}
		}
	}
	return d.errMismatch
}

// candidates decodes the signatures of r into k, so that one which cannot be
// read costs no hash.
func (d *declared) candidates(k *keyed, r *Request) (n int, err error) {
	present := false
	for i := range d.signature {
		value := d.signature[i].raw(r)
		present = present || value != ""
		for piece := range d.signature[i].pieces(value) {
			if n < maxCandidates && d.decode(k.candidates[n][:d.size], piece) {
				n++
			}
		}
	}
	switch {
	case !present:
		return 0, d.errUnsigned
	case n == 0:
		return 0, d.errMalformed
	default:
		return n, nil
	}
}

// complete reports whether the fields that are signed are there: a header that
// is not is no empty text.
func (d *declared) complete(r *Request) error {
	for i := range d.base {
		switch p := &d.base[i]; {
		case p.kind == varID && d.id[0].value(r) == "":
			return unsigned(d.id[0].label())
		case p.kind == fromHeader && r.Header.Get(p.text) == "":
			return unsigned(p.text)
		}
	}
	return nil
}

// sum is the digest that the secret gives r, nil where the secret is no key. An
// empty secret signs nothing: anybody could compute with it. The result is k's.
func (d *declared) sum(k *keyed, r *Request, at, secret string) []byte {
	if secret == "" {
		return nil
	}
	mac := k.state(secret)
	if mac == nil {
		return nil
	}
	d.write(k, mac, r, at, secret)
	return mac.Sum(k.out[:0])
}

// write feeds what is signed to mac, the body without a copy.
func (d *declared) write(k *keyed, mac hash.Hash, r *Request, at, secret string) {
	k.scratch = k.scratch[:0]
	for i := range d.base {
		switch p := &d.base[i]; p.kind {
		case varBody:
			if len(k.scratch) > 0 {
				mac.Write(k.scratch)
				k.scratch = k.scratch[:0]
			}
			mac.Write(r.Body)
		case varTimestamp:
			k.scratch = append(k.scratch, at...)
		case varID:
			k.scratch = append(k.scratch, d.id[0].value(r)...)
		case varMethod:
			k.scratch = append(k.scratch, r.Method...)
		case varURL:
			k.scratch = append(k.scratch, d.address(r)...)
		case varSecret:
			k.scratch = append(k.scratch, secret...)
		case fromHeader:
			k.scratch = append(k.scratch, r.Header.Get(p.text)...)
		case fromJSON:
			k.scratch = append(k.scratch, jsonText(r.Body, p.text)...)
		default:
			k.scratch = append(k.scratch, p.text...)
		}
	}
	if len(k.scratch) > 0 {
		mac.Write(k.scratch)
	}
}

func (d *declared) address(r *Request) string {
	if d.url != "" {
		return d.url
	}
	return r.URL
}

// verifyToken compares the secret itself, of which the sender may send base64.
func (d *declared) verifyToken(r *Request, secrets []string) error {
	present := false
	for i := range d.signature {
		value := d.signature[i].raw(r)
		present = present || value != ""
		for piece := range d.signature[i].pieces(value) {
			if d.encoding == "base64" {
				plain, err := base64.StdEncoding.DecodeString(piece)
				if err != nil {
					continue
				}
				piece = string(plain)
			}
			if sameAsAny(piece, secrets) {
				return nil
			}
		}
	}
	if !present {
		return d.errUnsigned
	}
	return d.errMismatch
}

func (d *declared) Identify(r Request) Identity {
	return Identity{DeliveryID: firstOf(d.id, &r), Event: firstOf(d.event, &r)}
}

// check returns the text of the time, which is what is signed.
func (t *signedTime) check(r *Request, now time.Time) (string, error) {
	text := t.from.value(r)
	if text == "" {
		return "", t.errUndated
	}
	if t.tolerance == 0 {
		return text, nil
	}
	at, ok := parseTime(text, t.unit)
	if !ok {
		return "", errTimestamp
	}
	if age := now.Sub(at); age > t.tolerance || age < -t.tolerance {
		return "", t.errStale
	}
	return text, nil
}

const (
	unitSeconds = "s"
	unitMillis  = "ms"
	unitRFC3339 = "rfc3339"
)

// parseTime reads a time in one of the units. The bounds keep it within what
// package time can subtract.
func parseTime(text, unit string) (time.Time, bool) {
	if unit == unitRFC3339 {
		at, err := time.Parse(time.RFC3339Nano, text)
		return at, err == nil
	}
	const maxSeconds, maxMillis = 12, 15 // digits
	n, err := strconv.ParseInt(text, 10, 64)
	if unit == unitMillis {
		return time.UnixMilli(n), err == nil && len(text) <= maxMillis
	}
	return time.Unix(n, 0), err == nil && len(text) <= maxSeconds
}

// formatTime writes a time as parseTime reads it.
func formatTime(at time.Time, unit string) string {
	switch unit {
	case unitRFC3339:
		return at.UTC().Format(time.RFC3339Nano)
	case unitMillis:
		return strconv.FormatInt(at.UnixMilli(), 10)
	default:
		return strconv.FormatInt(at.Unix(), 10)
	}
}
