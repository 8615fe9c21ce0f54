package senders

import (
	"crypto/subtle"
	"time"
)

// resigning is a declared sender whose signature ages and can be made afresh,
// since both the signature and its time are in header fields.
type resigning struct{ *declared }

// ages reports whether the signature expires and can be made afresh.
func (d *declared) ages() bool {
	if d.token || d.time == nil || d.time.tolerance == 0 || d.time.from.kind != fromHeader {
		return false
	}
	signature := &d.signature[0]
	sameField := d.time.from.name == signature.name
	return signature.kind == fromHeader && (!sameField || d.time.from.split != "" && d.time.from.split == signature.split)
}

// Resign signs r with the time now. Of several fields it replaces the one that
// the secret has signed.
func (d *resigning) Resign(r Request, secret string, now time.Time) []Field {
	k := d.keys.Get().(*keyed)
	defer d.keys.Put(k)
	signature := d.signedField(k, &r, secret)
	at := formatTime(now, d.time.unit)
	sum := d.sum(k, &r, at, secret)
	if sum == nil {
		return nil
	}
	value := signature.prefix + encodings[d.encoding].encode(sum)
	if d.time.from.name == signature.name {
		return []Field{{signature.name, d.time.from.prefix + at + signature.split + value}}
	}
	return []Field{{d.time.from.name, d.time.from.prefix + at}, {signature.name, value}}
}

// signedField is the source whose signature the secret has made, the first
// without one.
func (d *resigning) signedField(k *keyed, r *Request, secret string) *extractor {
	for i := range d.signature[1:] {
		if d.signedIn(k, r, secret, &d.signature[1+i]) {
			return &d.signature[1+i]
		}
	}
	return &d.signature[0]
}

// signed reports whether the secret has signed r, however long ago.
func (d *declared) signed(r Request, secret string) bool {
	k := d.keys.Get().(*keyed)
	defer d.keys.Put(k)
	for i := range d.signature {
		if d.signedIn(k, &r, secret, &d.signature[i]) {
			return true
		}
	}
	return false
}

func (d *declared) signedIn(k *keyed, r *Request, secret string, from *extractor) bool {
	at := ""
	if d.time != nil {
		at = d.time.from.value(r)
	}
	sum := d.sum(k, r, at, secret)
	for piece := range from.pieces(from.raw(r)) {
		got := k.candidates[0][:d.size]
		if sum != nil && d.decode(got, piece) && subtle.ConstantTimeCompare(got, sum) == 1 {
			return true
		}
	}
	return false
}
