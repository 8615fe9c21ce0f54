package senders

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"sync"
)

// keyed holds HMAC states ready to use, so that a request costs neither the two
// key blocks nor an allocation. A process has a handful of secrets; one with
// more than maxKeyed starts over rather than grow.
type keyed struct {
	states  map[string]hash.Hash
	scratch []byte
}

const maxKeyed = 16

var keyedPool = sync.Pool{New: func() any {
	return &keyed{states: make(map[string]hash.Hash, 2), scratch: make([]byte, 0, 128)}
}}

func (k *keyed) state(secret string) hash.Hash {
	if mac, ok := k.states[secret]; ok {
		mac.Reset()
		return mac
	}
	if len(k.states) >= maxKeyed {
		clear(k.states)
	}
	mac := hmac.New(sha256.New, []byte(secret))
	k.states[secret] = mac
	return mac
}

// sum256 is HMAC-SHA256(secret, prefix... body).
func sum256(secret string, body []byte, prefix ...string) [sha256.Size]byte {
	k := keyedPool.Get().(*keyed)
	defer keyedPool.Put(k)
	mac := k.state(secret)
	k.scratch = k.scratch[:0]
	for _, p := range prefix {
		k.scratch = append(k.scratch, p...)
	}
	mac.Write(k.scratch)
	mac.Write(body)
	return [sha256.Size]byte(mac.Sum(k.scratch[:0]))
}

// signedBy says whether one of secrets made sum over prefix and body. An empty
// secret signs nothing: anybody could compute with it.
func signedBy(sum *[sha256.Size]byte, secrets []string, body []byte, prefix ...string) bool {
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		want := sum256(secret, body, prefix...)
		if subtle.ConstantTimeCompare(sum[:], want[:]) == 1 {
			return true
		}
	}
	return false
}

// hexSum reads the 64 hex digits of an HMAC-SHA256.
func hexSum(s string) (sum [sha256.Size]byte, ok bool) {
	if len(s) != hex.EncodedLen(len(sum)) {
		return sum, false
	}
	_, err := hex.Decode(sum[:], []byte(s))
	return sum, err == nil
}

// base64Sum reads an HMAC-SHA256 in padded standard base64.
func base64Sum(s string) (sum [sha256.Size]byte, ok bool) {
	var out [sha256.Size + 1]byte // DecodedLen counts the padding as a byte
	if len(s) != base64.StdEncoding.EncodedLen(len(sum)) {
		return sum, false
	}
	n, err := base64.StdEncoding.Decode(out[:], []byte(s))
	copy(sum[:], out[:])
	return sum, err == nil && n == len(sum)
}

// sameAsAny compares a shared token in constant time, whatever the lengths.
func sameAsAny(token string, secrets []string) bool {
	got := sha256.Sum256([]byte(token))
	for _, secret := range secrets {
		want := sha256.Sum256([]byte(secret))
		if secret != "" && subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			return true
		}
	}
	return false
}
