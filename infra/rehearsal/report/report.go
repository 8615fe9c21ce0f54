// Package report says what came of a rehearsal: as text, as JSON and as a page.
//
// It owns the wording and the chart. It must never judge: the verdict is made.
// The command calls it.
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
	// Faults are what went otherwise than the scenario has it, beside the
	// webhooks: an exit code, a process killed after its grace period.
	Faults []string `json:"faults"`

	Latencies Latencies        `json:"latencies"`
	Events    []timeline.Event `json:"events"`
	States    []timeline.State `json:"states"`
	Begin     time.Time        `json:"begin"`      // of the sending; zero of the curve
	Sending   time.Duration    `json:"sending_ns"` // how long the senders took; longer than asked when the machine is short of breath
	Curve     []Point          `json:"curve"`
}

// Good reports whether the run proves what it set out to.
func (r *Report) Good() bool { return r.Verdict.Good() && len(r.Faults) == 0 }

// Latencies are what the design sets targets for, one for each time it could
// be measured in the run.
type Latencies struct {
	// ColdStart is from the start of a sidecar's process to the first webhook
	// it accepted.
	ColdStart []time.Duration `json:"cold_start_ns"`
	// FirstHold is from SIGTERM to the first webhook that was held.
	FirstHold []time.Duration `json:"first_hold_ns"`
	// FirstReplay is from the app's first good health to the first held
	// webhook that it stored.
	FirstReplay []time.Duration `json:"first_replay_ns"`
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
