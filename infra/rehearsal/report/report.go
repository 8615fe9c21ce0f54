// Package report presents the result of a rehearsal as text, as JSON and as an
// HTML page.
//
// It owns the wording and the chart. It must never judge; package verdict does.
// The command infra/cmd/rehearsal calls it.
package report

import (
	"time"

	"sluice/infra/rehearsal/timeline"
	"sluice/infra/rehearsal/verdict"
)

// Report is one run of a scenario.
type Report struct {
	Scenario string            `json:"scenario"`
	About    string            `json:"about"`
	Start    time.Time         `json:"start"`
	Took     time.Duration     `json:"took_ns"`
	Settings map[string]string `json:"settings"`

	Verdict *verdict.Verdict `json:"verdict"`
	// Faults are what went wrong other than webhooks: an exit code, a process
	// killed after its grace period.
	Faults []string `json:"faults"`

	Latencies Latencies        `json:"latencies"`
	Events    []timeline.Event `json:"events"`
	States    []timeline.State `json:"states"`
	Begin     time.Time        `json:"begin"`      // of the sending, where the curve starts
	Sending   time.Duration    `json:"sending_ns"` // how long the senders took; longer than asked when the machine is overloaded
	Curve     []Point          `json:"curve"`
	Open      []Open           `json:"open"`

	// Without says that there was no sidecar, so that nothing is judged: the run
	// shows what an app loses by itself.
	Without bool `json:"without_sluice,omitempty"`
	// Bare is the run of the same traffic without a sidecar, where there was one.
	Bare *Report `json:"bare,omitempty"`
}

// NeverArrived is how many webhooks were sent and did not reach a job's end.
func (r *Report) NeverArrived() int { return r.Verdict.Sent - r.Verdict.Delivered }

// Open is a moment of the comparison's chart.
type Open struct {
	At       time.Duration `json:"at_ns"`    // since the start
	Webhooks int           `json:"webhooks"` // sent, and not arrived by then
}

// Good reports whether nothing went wrong.
func (r *Report) Good() bool { return (r.Without || r.Verdict.Good()) && len(r.Faults) == 0 }

// Latencies are those for which the design sets targets, one value for each time
// that the run could measure it.
type Latencies struct {
	// ColdStart is from the start of a sidecar's process to the first webhook
	// it accepted.
	ColdStart []time.Duration `json:"cold_start_ns"`
	// FirstHold is from SIGTERM to the first webhook that was held.
	FirstHold []time.Duration `json:"first_hold_ns"`
	// FirstReplay is from the app's first good health to the first held
	// webhook that it stored.
	FirstReplay []time.Duration `json:"first_replay_ns"`
	// HeldToTaken is from the acknowledgement of each held webhook to the app that
	// stored it.
	HeldToTaken []time.Duration `json:"held_to_taken_ns"`
}

// Targets of the three latencies.
const (
	ColdStartTarget   = 100 * time.Millisecond
	FirstHoldTarget   = 5 * time.Millisecond
	FirstReplayTarget = 300 * time.Millisecond
)

// Point is a moment of the chart: how many webhooks had been held, and how
// many of these the app had taken.
type Point struct {
	At       time.Duration `json:"at_ns"` // since the start
	Held     int           `json:"held"`
	Replayed int           `json:"replayed"`
}
