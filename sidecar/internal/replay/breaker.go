package replay

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	breakerRun    = 3                // refusals in a row that open it
	suspectLimit  = 10 * time.Second // how long a first refusal waits for further evidence
	minCanaryWait = time.Second      // between two canaries, doubled after each that is refused
	maxCanaryWait = 5 * time.Second
)

// breaker tells a broken app from a bad webhook. An app that accepts nothing and
// refuses one webhook after another with the same final status is broken. Giving
// up those webhooks would turn the whole queue into dead letters.
//
// The first refusals of a run are suspects: neither recorded nor forgotten until
// something is accepted, which shows that they were bad, or until the run is long
// enough to open the breaker, which shows that the app is. While it is open one
// canary at a time goes to the app, and what that is refused for does not count.
type breaker struct {
	limit time.Duration // for how long refusals don't count while it is open; 0: it never opens

	idle atomic.Bool // closed, and nothing refused: so for nearly every answer

	mu       sync.Mutex
	kind     int // the status of the run, 0 for spent attempts
	run      int
	suspects []*inHand
	opened   time.Time // zero while closed
	counting bool      // an operator's order: refusals count all the same
	changed  chan struct{}
	slot     chan struct{} // the right to be the canary
	next     time.Time     // when the next canary may go
	wait     time.Duration
}

// ruling is what a refusal leads to.
type ruling int

const (
	doomed  ruling = iota // a dead letter
	suspect               // undecided: the lane goes on
	again                 // it stays at its lane's head
	opening               // so do this one and the suspects: the breaker has just opened
)

func newBreaker(limit time.Duration) *breaker {
	b := &breaker{limit: limit, changed: make(chan struct{}), slot: make(chan struct{}, 1), wait: minCanaryWait}
	b.idle.Store(true)
	return b
}

// accepted notes a 2xx. It returns the suspects, which that proves to be bad
// webhooks, and whether the breaker was open.
func (b *breaker) accepted() (bad []*inHand, wasOpen bool) {
	if b.idle.Load() {
		return nil, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	bad, wasOpen = b.suspects, !b.opened.IsZero()
	b.suspects, b.run, b.opened, b.counting = nil, 0, time.Time{}, false
	b.wait = minCanaryWait
	if wasOpen {
		close(b.changed)
		b.changed = make(chan struct{})
	}
	b.idle.Store(true)
	return bad, wasOpen
}

// refused notes a final answer, kind being its status, or spent attempts (0). h is
// nil for a live webhook, whose sender has the answer. decided are suspects of an
// earlier run of another kind, and when the breaker opens those that stay.
func (b *breaker) refused(h *inHand, kind int, now time.Time) (r ruling, decided []*inHand) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.limit == 0:
		return doomed, nil
	case !b.opened.IsZero():
		if b.countsNow(now) {
			return doomed, nil
		}
		return again, nil
	}
	b.idle.Store(false)
	if kind != b.kind {
		decided, b.suspects, b.run = b.suspects, nil, 0
	}
	b.kind = kind
	if b.run++; b.run >= breakerRun {
		decided, b.suspects = append(decided, b.suspects...), nil
		b.opened, b.next = now, now.Add(b.wait)
		return opening, decided
	}
	if h != nil {
		h.suspectSince = now
		b.suspects = append(b.suspects, h)
	}
	return suspect, decided
}

// counts reports whether a refusal counts at present.
func (b *breaker) counts(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.countsNow(now)
}

func (b *breaker) countsNow(now time.Time) bool {
	return b.opened.IsZero() || b.counting || now.Sub(b.opened) >= b.limit
}

// expired returns suspects for which no evidence came in time.
func (b *breaker) expired(now time.Time) (bad []*inHand) {
	return b.take(func(h *inHand) bool { return now.Sub(h.suspectSince) >= suspectLimit })
}

// take removes suspects, which the run still counts.
func (b *breaker) take(which func(*inHand) bool) (taken []*inHand) {
	if b.idle.Load() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.suspects[:0:0]
	for _, h := range b.suspects {
		if which(h) {
			taken = append(taken, h)
		} else {
			kept = append(kept, h)
		}
	}
	b.suspects = kept
	return taken
}

// isOpen returns since when the breaker is open and for which status.
func (b *breaker) isOpen() (since time.Time, kind int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opened, b.kind
}

// count lets refusals count though the breaker is open, until the app accepts
// something.
func (b *breaker) count() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counting = true
}

// hurry lets the next canary go at once: a new version of the app may be there.
func (b *breaker) hurry() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next, b.wait = time.Time{}, minCanaryWait
}

// pass returns at once while the breaker is closed. While it is open it waits
// until it is this caller's turn to be the canary, in the order of arrival, so
// that the canary is of another lane each time. done ends a canary.
func (b *breaker) pass(ctx context.Context) (canary bool, done func(), err error) {
	for {
		b.mu.Lock()
		open, changed := !b.opened.IsZero(), b.changed
		b.mu.Unlock()
		if !open {
			return false, func() {}, nil
		}
		select {
		case <-ctx.Done():
			return false, nil, ctx.Err()
		case <-changed:
			continue
		case b.slot <- struct{}{}:
		}
		if b.due(ctx, changed) {
			return true, b.flown, nil
		}
		<-b.slot
	}
}

// due waits for the canary's time and returns false when the wait ended early.
func (b *breaker) due(ctx context.Context, changed <-chan struct{}) bool {
	for {
		b.mu.Lock()
		wait := time.Until(b.next)
		b.mu.Unlock()
		if wait <= 0 {
			return true
		}
		timer := time.NewTimer(min(wait, minCanaryWait)) // hurry may have changed it
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-changed:
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}

func (b *breaker) flown() {
	b.mu.Lock()
	b.next = time.Now().Add(b.wait)
	b.wait = min(2*b.wait, maxCanaryWait)
	b.mu.Unlock()
	<-b.slot
}
