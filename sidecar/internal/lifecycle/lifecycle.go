// Package lifecycle is the state machine of a replica: the states, the events
// and the one table that joins them.
//
// It is pure and decides nothing about single webhooks. gate applies it under
// its lock; nothing else changes a state. docs/state-machine.md draws it.
package lifecycle

import "fmt"

// State is what a replica is doing as a whole.
type State int

const (
	Starting  State = iota // the app has not been healthy yet
	Replaying              // the app is up, held webhooks go first
	Passing                // webhooks are forwarded
	Holding                // the app is away, webhooks are held
	Paused                 // an operator holds the door shut
	Draining               // told to end: everything is held
	Stopped                // nothing is taken any more
)

var stateNames = [...]string{"starting", "replaying", "passing", "holding", "paused", "draining", "stopped"}

// String returns the state's name as in the contract.
func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return fmt.Sprintf("state(%d)", int(s))
	}
	return stateNames[s]
}

// Replays reports whether held webhooks are delivered in this state.
func (s State) Replays() bool { return s == Replaying || s == Passing }

// Event is something that happened to a replica.
type Event int

const (
	AppUp        Event = iota // the app's health probe passed
	AppDown                   // the probe failed, or a dial to the app did
	BacklogEmpty              // a fresh look found nothing held, and nothing is being held
	Pause                     // an operator's order
	Resume                    // an operator's order
	Terminate                 // SIGTERM
	Drained                   // nothing is in flight and nobody comes any more
)

var eventNames = [...]string{"app_up", "app_down", "backlog_empty", "pause", "resume", "terminate", "drained"}

// String returns the event's name as in the design.
func (e Event) String() string {
	if e < 0 || int(e) >= len(eventNames) {
		return fmt.Sprintf("event(%d)", int(e))
	}
	return eventNames[e]
}

type edge struct {
	from State
	on   Event
}

// table is the whole machine: a pair that is not in it leaves the state as it is.
var table = map[edge]State{
	{Starting, AppUp}:         Replaying,
	{Holding, AppUp}:          Replaying,
	{Replaying, BacklogEmpty}: Passing,
	{Replaying, AppDown}:      Holding,
	{Passing, AppDown}:        Holding,
	{Starting, Pause}:         Paused,
	{Replaying, Pause}:        Paused,
	{Passing, Pause}:          Paused,
	{Holding, Pause}:          Paused,
	{Paused, Resume}:          Holding,
	{Starting, Terminate}:     Draining,
	{Replaying, Terminate}:    Draining,
	{Passing, Terminate}:      Draining,
	{Holding, Terminate}:      Draining,
	{Paused, Terminate}:       Draining,
	{Draining, Drained}:       Stopped,
}

// Next returns the state after e happened in s.
func Next(s State, e Event) State {
	if to, ok := table[edge{s, e}]; ok {
		return to
	}
	return s
}
