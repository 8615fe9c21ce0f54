// Package timeline records what happened during a rehearsal, and when.
//
// It owns the list of events and the states of each replica over time. It must
// never judge them. Every part of a rehearsal adds to it; the report reads it.
package timeline

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Event is one thing that happened.
type Event struct {
	At   time.Time `json:"at"`
	Who  string    `json:"who"` // a replica's name, "balancer", "postgres"
	What string    `json:"what"`
}

// State is the state that a replica's sidecar reported from At on.
type State struct {
	At      time.Time `json:"at"`
	Replica string    `json:"replica"`
	Name    string    `json:"state"` // "gone" when nobody answered
}

// Log is a list of events and states, safe for concurrent use. The zero value
// is ready.
type Log struct {
	mu     sync.Mutex
	events []Event
	states []State
	last   map[string]string
}

// Add records an event that happens now and returns its time.
func (l *Log) Add(who, format string, args ...any) time.Time {
	at := time.Now()
	l.AddAt(at, who, format, args...)
	return at
}

// AddAt records an event that happened at a known time.
func (l *Log) AddAt(at time.Time, who, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, Event{at, who, fmt.Sprintf(format, args...)})
}

// Enter records a replica's state when it has changed.
func (l *Log) Enter(replica, state string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last[replica] == state {
		return
	}
	if l.last == nil {
		l.last = map[string]string{}
	}
	l.last[replica] = state
	l.states = append(l.states, State{time.Now(), replica, state})
}

// Now returns the last state of each replica.
func (l *Log) Now() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := make(map[string]string, len(l.last))
	for replica, state := range l.last {
		now[replica] = state
	}
	return now
}

// Events returns the events in order of time.
func (l *Log) Events() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := slices.Clone(l.events)
	slices.SortStableFunc(events, func(a, b Event) int { return a.At.Compare(b.At) })
	return events
}

// States returns the states in order of time.
func (l *Log) States() []State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.states)
}
