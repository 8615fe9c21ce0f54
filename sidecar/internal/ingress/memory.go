package ingress

import (
	"bufio"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

var (
	errTooLarge = errors.New("body too large")
	errNoMemory = errors.New("too many bytes in flight")
)

// memory bounds the bodies that are in memory at one time. A body counts by what
// has arrived of it, never by what it announces: a length costs its sender
// nothing. Bodies that are not whole yet take at most half of the memory
// together, so that whole ones, which the app or the queue will take, always
// have the other half. One that grows and finds no room is refused at once: if
// it waited for others that wait as well, none of them would ever be whole.
type memory struct {
	sem        *semaphore.Weighted // all bodies
	half       int64
	unfinished atomic.Int64 // of them, those that are not whole yet; at most half
}

// newMemory returns a memory of limit bytes. A body of up to half of it always
// finds room when there is no other.
func newMemory(limit int64) *memory {
	return &memory{sem: semaphore.NewWeighted(limit), half: limit / 2}
}

const (
	// patience is how long a request waits for memory before it gets 503, as
	// long as it has none. A sender that never repeats is worth a second.
	patience = time.Second
	// admitEvery is how often a body that is not whole looks for its first room.
	admitEvery = 25 * time.Millisecond
)

// acquire takes n bytes for what is whole.
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

// extend takes n bytes for a body that is not whole, of which so many are only
// for as long as it moves: they count as memory and not as unfinished.
func (m *memory) extend(n, moving int64) bool {
	for {
		now := m.unfinished.Load()
		if now+n-moving > m.half {
			return false
		}
		if m.unfinished.CompareAndSwap(now, now+n-moving) {
			break
		}
	}
	if !m.sem.TryAcquire(n) {
		m.unfinished.Add(moving - n)
		return false
	}
	return true
}

// admit takes the first n bytes for a body that is not whole.
func (m *memory) admit(ctx context.Context, n int64) error {
	for end := time.Now().Add(patience); !m.extend(n, 0); pause(admitEvery) {
		if ctx.Err() != nil || !time.Now().Before(end) {
			return errNoMemory
		}
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

// room returns a body of n bytes that have been counted.
func (m *memory) room(n int64) *body {
	b := &body{memory: m, held: n}
	if n <= smallBody {
		b.pooled = smallBodies.Get().(*[]byte)
		b.bytes = (*b.pooled)[:n]
	} else {
		b.bytes = make([]byte, n)
	}
	return b
}

// read takes a body whole. length is the announced one, -1 when unknown. What
// fits into r waits there and counts once it is whole: most bodies come with
// their head, and the others have cost their sender as much as a connection.
func (m *memory) read(ctx context.Context, r *bufio.Reader, p *pace, length, limit int64) (*body, error) {
	if length > limit {
		return nil, errTooLarge
	}
	n, whole, err := gather(r, p, length)
	switch {
	case err != nil:
		return nil, err
	case n > limit:
		return nil, errTooLarge
	case !whole:
		return m.grow(ctx, r, p, length, limit)
	}
	if err := m.acquire(ctx, n); err != nil {
		return nil, err
	}
	b := m.room(n)
	if _, err := io.ReadFull(r, b.bytes); err != nil { // never: all of it is in r
		b.free()
		return nil, err
	}
	return b, nil
}

// gather waits until r has all of the body, or as much as it can hold.
func gather(r *bufio.Reader, p *pace, length int64) (n int64, whole bool, err error) {
	want := int64(r.Size())
	if length >= 0 {
		want = min(want, length)
	}
	have := int64(r.Buffered())
	if have < want || want != length {
		p.begin()
	}
	for have < want {
		_, err := r.Peek(int(have) + 1)
		if now := int64(r.Buffered()); now > have {
			p.arrived(now - have)
			have = now
			continue // an error comes again
		}
		switch {
		case err == io.EOF && length < 0:
			return have, true, nil
		case err == io.EOF && have > 0:
			return 0, false, io.ErrUnexpectedEOF
		case err != nil:
			return 0, false, err
		}
	}
	return want, want == length, nil
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
