// Package reminder limits how often a repeated event is logged. Its callers write
// the log lines; it must never lose a count. wire and ingress use it for events
// that a stranger can cause any number of times.
package reminder

import (
	"sync"
	"time"
)

// Every is the shortest time between two log lines about the same event.
const Every = time.Minute

// Reminder reports the first event at once, and those that follow within a minute
// together, with their number. Its zero value is ready to use.
type Reminder struct {
	mu     sync.Mutex
	until  time.Time // the end of the minute
	untold int
}

// Note counts one event. It calls tell at once with 1, or later, on another
// goroutine, with the number of events since the last call.
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

// sum reports the events that have not been reported.
func (m *Reminder) sum(tell func(count int)) {
	m.mu.Lock()
	n := m.untold
	m.untold, m.until = 0, time.Now().Add(Every)
	m.mu.Unlock()
	tell(n)
}
