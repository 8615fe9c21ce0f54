// Package lifecycle is the state machine of a replica: the states, the events and
// the one table of transitions.
//
// It is pure: no I/O and no clock. It must never decide about a single webhook.
// Only gate changes the state, under its lock, by calling Next.
// docs/state-machine.md has the diagram.
package lifecycle

import "fmt"

// State is what a replica is doing as a whole.
type State int

const (
	Starting  State = iota // the app has not been healthy yet
	Replaying              // the app is up, held webhooks are delivered first
	Passing                // webhooks are forwarded
	Holding                // the app is away, webhooks are held
	Paused                 // an operator has stopped forwarding, webhooks are held
	Draining               // told to stop: every webhook is held
	Stopped                // no webhook is accepted
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
	BacklogEmpty              // a look found nothing held, and nothing is being stored
	Pause                     // an operator's order
	Resume                    // an operator's order
	Terminate                 // SIGTERM
	Drained                   // nothing is in flight and no requests arrive
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

// table has every transition. A pair that is not in it does not change the state.
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

// Next returns the state that follows s after e.
func Next(s State, e Event) State {
	if to, ok := table[edge{s, e}]; ok {
		return to
	}
	return s
}
