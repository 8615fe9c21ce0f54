package wire

import (
	"errors"
	"os"
	"sync"
)

// What a request that is read whole may be refused for. A request that broke
// off has the error of its connection instead.
var (
	ErrTooLarge  = errors.New("body too large")
	ErrNoMemory  = errors.New("too many bytes in flight")
	ErrSlow      = os.ErrDeadlineExceeded
	ErrMalformed = errors.New("request could not be sent on as it is")
)

// Body is a request's body in memory.
type Body struct {
	bytes  []byte
	held   int64 // bytes counted for it
	pooled *[]byte
	lent   bool
	memory *memory
}

// Bytes returns the body, which its Endpoint may use until Serve returns.
func (b *Body) Bytes() []byte { return b.bytes }

// Lend says that somebody may read the bytes even after Serve has returned, so
// that they are not used for another request; Return says that nobody does.
func (b *Body) Lend()   { b.lent = true }
func (b *Body) Return() { b.lent = false }

const smallBody = 16 << 10

var smallBodies = sync.Pool{New: func() any { b := make([]byte, smallBody); return &b }}

// room returns a body of n bytes that have been counted.
func (m *memory) room(n int64) *Body {
	b := &Body{memory: m, held: n}
	if n <= smallBody {
		b.pooled = smallBodies.Get().(*[]byte)
		b.bytes = (*b.pooled)[:n]
	} else {
		b.bytes = make([]byte, n)
	}
	return b
}

// free gives the memory back. The bytes must not be used after it.
func (b *Body) free() {
	if b.held > 0 {
		b.memory.sem.Release(b.held)
	}
	if b.pooled != nil && !b.lent {
		smallBodies.Put(b.pooled)
	}
	b.held, b.pooled, b.bytes = 0, nil, nil
}
