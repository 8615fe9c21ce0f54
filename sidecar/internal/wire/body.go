package wire

import (
	"errors"
	"os"
	"sync"
)

// Why a request could not be read. When the connection broke, Refuse gets the
// connection's error instead.
var (
	ErrTooLarge  = errors.New("body too large")
	ErrNoMemory  = errors.New("too many bytes in flight")
	ErrSlow      = os.ErrDeadlineExceeded
	ErrMalformed = errors.New("request could not be sent on as it is")
)

// Body is a request's body in memory.
type Body struct {
	bytes  []byte
	held   int64 // bytes counted in memory for it
	pooled *[]byte
	lent   bool
	memory *memory
}

// Bytes returns the body. The Endpoint may use it until Serve returns.
func (b *Body) Bytes() []byte { return b.bytes }

// Lend says that the bytes may still be read after Serve has returned, so they
// must not be reused for another request. Return takes that back.
func (b *Body) Lend()   { b.lent = true }
func (b *Body) Return() { b.lent = false }

const smallBody = 16 << 10

var smallBodies = sync.Pool{New: func() any { b := make([]byte, smallBody); return &b }}

// newBody returns a body of n bytes. The caller has counted them.
func (m *memory) newBody(n int64) *Body {
	b := &Body{memory: m, held: n}
	if n <= smallBody {
		b.pooled = smallBodies.Get().(*[]byte)
		b.bytes = (*b.pooled)[:n]
	} else {
		b.bytes = make([]byte, n)
	}
	return b
}

// free gives the memory back. The bytes must not be used afterwards.
func (b *Body) free() {
	if b.held > 0 {
		b.memory.sem.Release(b.held)
	}
	if b.pooled != nil && !b.lent {
		smallBodies.Put(b.pooled)
	}
	b.held, b.pooled, b.bytes = 0, nil, nil
}
