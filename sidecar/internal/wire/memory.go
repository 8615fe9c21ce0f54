package wire

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// memory bounds the bodies that are in memory at one time. A body counts with the
// bytes that have arrived, never with its announced length, which costs a sender
// nothing. Unfinished bodies together take at most half of the memory, so that
// whole ones, which the app or the queue will take, always have the other half. A
// growing body that finds no room is refused at once: if several waited for each
// other, none would ever be whole.
type memory struct {
	sem        *semaphore.Weighted // all bodies
	half       int64
	unfinished atomic.Int64 // bytes of bodies that are not whole yet; at most half
}

// newMemory returns a memory of limit bytes. A body of up to half of it always
// finds room when it is the only one.
func newMemory(limit int64) *memory {
	return &memory{sem: semaphore.NewWeighted(limit), half: limit / 2}
}

const (
	// patience is how long a request that has no memory yet waits for it before it
	// gets 503. Some senders never repeat, so waiting a second is worth it.
	patience = time.Second
	// admitEvery is how often an unfinished body without memory looks for some.
	admitEvery = 25 * time.Millisecond
)

// acquire takes n bytes for a whole body.
func (m *memory) acquire(ctx context.Context, n int64) error {
	if m.sem.TryAcquire(n) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if m.sem.Acquire(ctx, n) != nil {
		return ErrNoMemory
	}
	return nil
}

// extend takes n more bytes for an unfinished body. moving of them are needed only
// while it is copied: they count as memory but not as unfinished.
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

// admit takes the first n bytes for an unfinished body.
func (m *memory) admit(ctx context.Context, n int64) error {
	for end := time.Now().Add(patience); !m.extend(n, 0); <-time.After(admitEvery) {
		if ctx.Err() != nil || !time.Now().Before(end) {
			return ErrNoMemory
		}
	}
	return nil
}
