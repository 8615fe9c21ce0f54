package ingress

import "sluice/sidecar/internal/gate"

// ticket is what the gate has counted for one webhook. Its end, which is
// deferred, gives back what is left: a webhook that could not be stored, or a
// fault in the sidecar, leaves no count behind that a drain would wait for.
type ticket struct {
	gate     *gate.Gate
	lane     string
	inFlight bool // Leave is due
	holding  bool // Kept or Dropped is due
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

// kept ends the hold of a webhook that is stored, and reports whether it may be
// acknowledged.
func (t *ticket) kept() bool {
	t.holding = false
	return t.gate.Kept(t.lane)
}

func (t *ticket) leave() {
	t.inFlight = false
	t.gate.Leave()
}

// lend gives the duty to leave to somebody else.
func (t *ticket) lend() (leave func()) {
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
