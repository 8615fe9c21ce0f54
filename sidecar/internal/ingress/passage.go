package ingress

import "sluice/sidecar/internal/gate"

// passage is what one webhook owes the gate. Its end, which is deferred, pays
// what is left: a webhook that could not be stored, or a fault in the sidecar,
// leaves no count behind that a drain would wait for.
type passage struct {
	gate     *gate.Gate
	lane     string
	inFlight bool // owes a Leave
	holding  bool // owes Kept or Dropped
}

func (p *passage) enter(patient bool) (gate.Verdict, <-chan struct{}) {
	verdict, opened := p.gate.Enter(p.lane, patient)
	p.inFlight, p.holding = verdict == gate.Forward, verdict == gate.Hold
	return verdict, opened
}

func (p *passage) join() bool {
	p.inFlight = p.gate.Join()
	return p.inFlight
}

// divert turns the forward into a hold.
func (p *passage) divert() {
	p.gate.Divert(p.lane)
	p.inFlight, p.holding = false, true
}

// holdBeside begins a hold while the forward goes on.
func (p *passage) holdBeside() {
	p.gate.HoldBeside(p.lane)
	p.holding = true
}

// kept ends the hold of a webhook that is stored, and reports whether it may be
// acknowledged.
func (p *passage) kept() bool {
	p.holding = false
	return p.gate.Kept(p.lane)
}

func (p *passage) leave() {
	p.inFlight = false
	p.gate.Leave()
}

// lend gives the duty to leave to somebody else.
func (p *passage) lend() (leave func()) {
	p.inFlight = false
	return p.gate.Leave
}

func (p *passage) end() {
	if p.inFlight {
		p.leave()
	}
	if p.holding {
		p.holding = false
		p.gate.Dropped(p.lane)
	}
}
