// Package reminder bounds how often one thing is told. It owns no log: its
// callers write the lines. It must never lose a count. wire and ingress use it
// for what a stranger can cause any number of times.
package reminder

import (
	"sync"
	"time"
)

// Every is how often one line may tell of what happens again and again.
const Every = time.Minute

// Reminder tells of an event at once, and of those that follow within a minute
// in one line with their number. Its zero value is ready.
type Reminder struct {
	mu     sync.Mutex
	until  time.Time // the end of the minute
	untold int
}

// Note counts one event. tell is called at once with 1, or later from another
// goroutine with the number of events since the last call.
func (m *Reminder) Note(tell func(count int)) {
	m.mu.Lock()
	now := time.Now()
	first := !now.Before(m.until) && m.untold == 0
	if first {
		m.until = now.Add(Every)
	} else {
		if m.untold == 0 {
			time.AfterFunc(m.until.Sub(now), func() { m.sum(tell) })
		}
		m.untold++
	}
	m.mu.Unlock()
	if first {
		tell(1)
	}
}

// sum tells of the events that had no line.
func (m *Reminder) sum(tell func(count int)) {
	m.mu.Lock()
	n := m.untold
	m.untold, m.until = 0, time.Now().Add(Every)
	m.mu.Unlock()
	tell(n)
}
