package wire

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
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
		return ErrNoMemory
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
	for end := time.Now().Add(patience); !m.extend(n, 0); <-time.After(admitEvery) {
		if ctx.Err() != nil || !time.Now().Before(end) {
			return ErrNoMemory
		}
	}
	return nil
}
