package senders

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // some senders' schemes, not ours to choose
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strings"
	"sync"
)

// keyed holds hash states ready to use, so that a request costs neither the two
// key blocks nor an allocation. A process has a handful of secrets; one with
// more than maxKeyed starts over rather than grow.
type keyed struct {
	open    func(secret string) hash.Hash
	states  map[string]hash.Hash // nil for a secret that is no key
	scratch []byte
	out     [sha512.Size]byte
	// candidates are here because a decoder behind a variable would make an
	// array on the stack escape.
	candidates [maxCandidates][sha512.Size]byte
}

const maxKeyed = 16

// newKeyring returns the pool of states of one algorithm and form of key. open
// returns a state for a secret, nil when the secret is no key.
func newKeyring(open func(secret string) hash.Hash) *sync.Pool {
	return &sync.Pool{New: func() any {
		return &keyed{open: open, states: make(map[string]hash.Hash, 2), scratch: make([]byte, 0, 128)}
	}}
}

var keyedPool = newKeyring(func(secret string) hash.Hash { return hmac.New(sha256.New, []byte(secret)) })

func (k *keyed) state(secret string) hash.Hash {
	if mac, ok := k.states[secret]; ok {
		if mac != nil {
			mac.Reset()
		}
		return mac
	}
	if len(k.states) >= maxKeyed {
		clear(k.states)
	}
	mac := k.open(secret)
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

// algorithms are the values of Scheme.MAC that have a digest.
var algorithms = map[string]struct {
	size int
	hash func() hash.Hash
}{
	"hmac-sha1":   {sha1.Size, sha1.New},
	"hmac-sha256": {sha256.Size, sha256.New},
	"hmac-sha512": {sha512.Size, sha512.New},
	plainSHA256:   {sha256.Size, sha256.New},
}

const (
	plainSHA256 = "sha256" // the secret is part of what is hashed
	equalToken  = "equal"  // the secret itself is sent
)

// keyForms decode a secret, Scheme.Key. The result is "" for what is no key.
var keyForms = map[string]func(secret string) string{
	"raw": func(secret string) string { return secret },
	"hex": func(secret string) string {
		key, err := hex.DecodeString(secret)
		if err != nil {
			return ""
		}
		return string(key)
	},
	"base64": func(secret string) string {
		key, err := base64.StdEncoding.DecodeString(secret)
		if err != nil {
			return ""
		}
		return string(key)
	},
}

// schemeKeyring is the keyring of a scheme whose fields have been checked.
func schemeKeyring(mac, form, prefix string) *sync.Pool {
	digest, key := algorithms[mac].hash, keyForms[form]
	return newKeyring(func(secret string) hash.Hash {
		switch k := key(strings.TrimPrefix(secret, prefix)); {
		case mac == plainSHA256:
			return digest()
		case k == "":
			return nil
		default:
			return hmac.New(digest, []byte(k))
		}
	})
}

// encodings write and read a digest, Scheme.Encoding. decode fills all of dst or
// returns false.
var encodings = map[string]struct {
	encode func(sum []byte) string
	decode func(dst []byte, text string) bool
}{
	"hex":       {hex.EncodeToString, decodeHex},
	"base64":    {base64.StdEncoding.EncodeToString, func(dst []byte, text string) bool { return decodeBase64(strictBase64, dst, text) }},
	"base64url": {base64.RawURLEncoding.EncodeToString, decodeBase64URL},
}

// Strict, so that one signature has one spelling.
var (
	strictBase64    = base64.StdEncoding.Strict()
	strictBase64URL = base64.RawURLEncoding.Strict()
)

func decodeHex(dst []byte, text string) bool {
	if len(text) != hex.EncodedLen(len(dst)) {
		return false
	}
	_, err := hex.Decode(dst, []byte(text))
	return err == nil
}

func decodeBase64(encoding *base64.Encoding, dst []byte, text string) bool {
	var out [sha512.Size + 2]byte // DecodedLen counts the padding
	if len(text) != encoding.EncodedLen(len(dst)) {
		return false
	}
	n, err := encoding.Decode(out[:], []byte(text))
	copy(dst, out[:])
	return err == nil && n == len(dst)
}

// decodeBase64URL takes the digest with its padding or without.
func decodeBase64URL(dst []byte, text string) bool {
	return decodeBase64(strictBase64URL, dst, strings.TrimRight(text, "="))
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
	ok = decodeHex(sum[:], s)
	return sum, ok
}

// base64Sum reads an HMAC-SHA256 in padded standard base64.
func base64Sum(s string) (sum [sha256.Size]byte, ok bool) {
	ok = decodeBase64(base64.StdEncoding, sum[:], s)
	return sum, ok
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
