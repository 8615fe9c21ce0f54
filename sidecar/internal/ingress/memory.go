package ingress

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

var (
	errTooLarge = errors.New("body too large")
	errNoMemory = errors.New("too many bytes in flight")
)

// memory bounds the bodies that are in memory at one time.
type memory struct{ sem *semaphore.Weighted }

func newMemory(limit int64) *memory { return &memory{semaphore.NewWeighted(limit)} }

// patience is how long a request waits for memory before it gets 503. A sender
// that never repeats is worth a second.
const patience = time.Second

func (m *memory) acquire(ctx context.Context, n int64) error {
	if m.sem.TryAcquire(n) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if m.sem.Acquire(ctx, n) != nil {
		return errNoMemory
	}
	return nil
}

// body is a request's body in memory that was counted; free gives it back.
type body struct {
	bytes  []byte
	held   int64
	pooled *[]byte
	memory *memory
}

const smallBody = 16 << 10

var smallBodies = sync.Pool{New: func() any { b := make([]byte, smallBody); return &b }}

// read takes a body whole. length is the announced one, -1 when unknown.
func (m *memory) read(ctx context.Context, r io.Reader, length, limit int64) (*body, error) {
	if length > limit {
		return nil, errTooLarge
	}
	if length < 0 {
		return m.readUnknown(ctx, r, limit)
	}
	if err := m.acquire(ctx, length); err != nil {
		return nil, err
	}
	b := &body{memory: m, held: length}
	if length <= smallBody {
		b.pooled = smallBodies.Get().(*[]byte)
		b.bytes = (*b.pooled)[:length]
	} else {
		b.bytes = make([]byte, length)
	}
	if _, err := io.ReadFull(r, b.bytes); err != nil {
		b.free()
		return nil, err
	}
	return b, nil
}

// readUnknown reads a body of unknown length, counting it as it grows. While it
// is moved to a larger piece both count, since both are there.
func (m *memory) readUnknown(ctx context.Context, r io.Reader, limit int64) (*body, error) {
	b := &body{memory: m}
	for size := int64(64 << 10); ; size *= 4 {
		size = min(size, limit+1)
		if err := m.acquire(ctx, size); err != nil {
			b.free()
			return nil, err
		}
		larger := make([]byte, size)
		n := copy(larger, b.bytes)
		b.free()
		b.held, b.bytes = size, larger[:n]
		n, ended, err := fill(r, larger, n)
		b.bytes = larger[:n]
		switch {
		case int64(n) > limit:
			b.free()
			return nil, errTooLarge
		case err != nil:
			b.free()
			return nil, err
		case ended:
			return b, nil
		}
	}
}

// fill reads into p from n on until p is full or r ends. Only io.EOF itself is
// the end of a body: io.ReadFull would hide one that was cut short.
func fill(r io.Reader, p []byte, n int) (filled int, ended bool, err error) {
	for n < len(p) {
		got, err := r.Read(p[n:])
		n += got
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// free gives the memory back. The bytes must not be used after it.
func (b *body) free() {
	if b.held > 0 {
		b.memory.sem.Release(b.held)
	}
	if b.pooled != nil {
		smallBodies.Put(b.pooled)
	}
	b.held, b.pooled, b.bytes = 0, nil, nil
}

// keep leaves the bytes to whoever else may still read them: they are not used
// again after free. What it returns undoes that.
func (b *body) keep() (pooled *[]byte) {
	pooled, b.pooled = b.pooled, nil
	return pooled
}
