package ingress

import "sluice/sidecar/internal/gate"

// ticket is what the gate has counted for one webhook. A deferred end gives back
// what is still counted, so neither a webhook that could not be stored nor a panic
// leaves a count behind that a drain would wait for.
type ticket struct {
	gate     *gate.Gate
	lane     string
	inFlight bool // Leave must still be called
	holding  bool // Kept or Dropped must still be called
}

func (t *ticket) enter(patient bool) (gate.Verdict, <-chan struct{}) {
	verdict, opened := t.gate.Enter(t.lane, patient)
	t.inFlight, t.holding = verdict == gate.Forward, verdict == gate.Hold
	return verdict, opened
}

func (t *ticket) join() bool {
	t.inFlight = t.gate.Join()
	return t.inFlight
}

// divert turns the forward into a hold.
func (t *ticket) divert() {
	t.gate.Divert(t.lane)
	t.inFlight, t.holding = false, true
}

// holdBeside begins a hold while the forward goes on.
func (t *ticket) holdBeside() {
	t.gate.HoldBeside(t.lane)
	t.holding = true
}

// stored ends the hold of a webhook that is stored, and reports whether it may be
// acknowledged.
func (t *ticket) stored() bool {
	t.holding = false
	return t.gate.Kept(t.lane)
}

func (t *ticket) leave() {
	t.inFlight = false
	t.gate.Leave()
}

// handOff passes the duty to call Leave to the caller.
func (t *ticket) handOff() (leave func()) {
	t.inFlight = false
	return t.gate.Leave
}

func (t *ticket) end() {
	if t.inFlight {
		t.leave()
	}
	if t.holding {
		t.holding = false
		t.gate.Dropped(t.lane)
	}
}
