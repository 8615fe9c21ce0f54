package buffer

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// A sealed column is a random nonce of 12 bytes and AES-256-GCM's output. The
// row's Sluice-Id and the column's name are bound to it, so that no ciphertext
// can be moved to another row or column. The column key_id names the key: the
// first 8 bytes of its SHA-256; NULL means plain.
const keyIDSize = 8

const (
	headColumn = "headers"
	bodyColumn = "body"
)

var errNoKey = errors.New("encrypted with a key that is not configured")

type sealer struct {
	current string // key id, "" writes plain
	keys    map[string]cipher.AEAD
}

func newSealer(keys [][]byte) (*sealer, error) {
	s := &sealer{keys: make(map[string]cipher.AEAD, len(keys))}
	for i, key := range keys {
		if len(key) != 32 {
			return nil, fmt.Errorf("key %d has %d bytes, want 32", i+1, len(key))
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("use key %d: %w", i+1, err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("use key %d: %w", i+1, err)
		}
		sum := sha256.Sum256(key)
		id := string(sum[:keyIDSize])
		s.keys[id] = aead
		if i == 0 {
			s.current = id
		}
	}
	return s, nil
}

// has reports whether what was sealed with that key can be opened here.
func (s *sealer) has(keyID []byte) bool {
	_, ok := s.keys[string(keyID)]
	return keyID == nil || ok
}

// ids lists the keys that can be opened with, as in the column key_id.
func (s *sealer) ids() [][]byte {
	ids := make([][]byte, 0, len(s.keys))
	for id := range s.keys {
		ids = append(ids, []byte(id))
	}
	return ids
}

// keyID is the column key_id of what seal returns now.
func (s *sealer) keyID() []byte {
	if s.current == "" {
		return nil
	}
	return []byte(s.current)
}

// seal returns plain as it is stored. plain is not changed.
func (s *sealer) seal(id uuid.UUID, column string, plain []byte) []byte {
	aead, ok := s.keys[s.current]
	if !ok {
		return plain
	}
	n := aead.NonceSize()
	out := make([]byte, n, n+len(plain)+aead.Overhead())
	_, _ = rand.Read(out) // never fails
	return aead.Seal(out, out[:n], plain, bound(id, column))
}

// open returns what seal was given. It decrypts in place: sealed is spent.
func (s *sealer) open(keyID []byte, id uuid.UUID, column string, sealed []byte) ([]byte, error) {
	if keyID == nil {
		return sealed, nil
	}
	aead, ok := s.keys[string(keyID)]
	if !ok {
		return nil, fmt.Errorf("read %s: %w", column, errNoKey)
	}
	n := aead.NonceSize()
	if len(sealed) < n+aead.Overhead() {
		return nil, fmt.Errorf("read %s: encrypted value cut off", column)
	}
	plain, err := aead.Open(sealed[n:n], sealed[:n], sealed[n:], bound(id, column))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", column, err)
	}
	return plain, nil
}

func bound(id uuid.UUID, column string) []byte {
	return append(id[:len(id):len(id)], column...)
}
