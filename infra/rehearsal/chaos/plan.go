package chaos

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Kind is what a step of the plan does.
type Kind int

// The kinds of steps.
const (
	KillApp Kind = iota
	KillSidecar
	KillBoth
	KillDatabase
	KillAll
	FreezeSidecar
	FreezeDatabase
	CutWire
	DelayWire
	DropAnswers
	Deploy
	Scale
)

var kindNames = [...]string{
	"kill app", "kill sidecar", "kill both", "kill postgres", "kill all", "freeze sidecar", "freeze postgres",
	"cut wire", "delay wire", "drop answers", "deploy", "scale",
}

// String is the kind's name.
func (k Kind) String() string { return kindNames[k] }

// weights say how often each kind is drawn.
var weights = [...]int{
	KillApp: 12, KillSidecar: 14, KillBoth: 6, KillDatabase: 6, KillAll: 3, FreezeSidecar: 8, FreezeDatabase: 6,
	CutWire: 12, DelayWire: 10, DropAnswers: 16, Deploy: 6, Scale: 6,
}

// Wire is one of the connections of a replica.
type Wire int

// The wires of a replica.
const (
	BalancerWire Wire = iota // platform -> sidecar
	AppWire                  // sidecar -> app
	DatabaseWire             // sidecar -> PostgreSQL
	wires
)

var wireNames = [...]string{"balancer", "app", "postgres"}

// String names the far end.
func (w Wire) String() string { return wireNames[w] }

// Step is one entry of the plan. Pick decides which of the replicas that exist at
// that time it concerns.
type Step struct {
	At   time.Duration // since the start
	Kind Kind
	Pick uint32        // which replica
	All  bool          // every replica's wire
	Wire Wire          // of CutWire, DelayWire, DropAnswers
	For  time.Duration // until it is repaired; with 0 CutWire cuts once
	// Delay is the delay of DelayWire. For DropAnswers it is the time from the
	// first swallowed byte to the cut.
	Delay    time.Duration
	Replicas int           // of Scale: the new number of replicas
	Old      bool          // of Deploy: the previous version's binaries
	Half     bool          // of Deploy: only every other replica is replaced
	Grace    time.Duration // of Deploy and Scale: from SIGTERM to SIGKILL
	First    string        // of Deploy and Scale: which container gets SIGTERM first
	Lead     time.Duration // how much earlier
}

const (
	leastReplicas = 2
	mostReplicas  = 5
	calm          = 2 * time.Second // at the start and at the end of the plan
	grace         = 20 * time.Second
)

// NewPlan draws the steps within length, with a mean pause of every between two
// steps. The same seed gives the same plan. Without old no step
// deploys a previous version.
func NewPlan(seed uint64, length, every time.Duration, old bool) []Step {
	d := dice{rand.New(rand.NewPCG(seed, 0x51_07_ce))}
	var plan []Step
	for at := calm; ; {
		at += time.Duration(d.ExpFloat64() * float64(every))
		if at > length-calm {
			return plan
		}
		plan = append(plan, d.step(at, old))
	}
}

// dice draws random steps.
type dice struct{ *rand.Rand }

func (d dice) step(at time.Duration, old bool) Step {
	s := Step{At: at, Kind: d.kind(), Pick: d.Uint32()}
	switch s.Kind {
	case KillApp, KillSidecar, KillBoth:
	case KillDatabase, KillAll:
		s.For = d.between(200*time.Millisecond, 6*time.Second)
	case FreezeSidecar:
		s.For = d.freeze(25 * time.Second)
	case FreezeDatabase:
		s.For = d.freeze(18 * time.Second)
	case CutWire:
		s.Wire, s.All = Wire(d.IntN(int(wires))), d.chance(4)
		if d.chance(2) {
			s.For = d.between(100*time.Millisecond, 8*time.Second)
		}
	case DelayWire:
		s.Wire, s.All = Wire(d.IntN(int(wires))), d.chance(4)
		s.For, s.Delay = d.between(time.Second, 10*time.Second), d.between(20*time.Millisecond, 3*time.Second)
	case DropAnswers:
		s.Wire, s.All = d.lossy(), d.chance(4)
		s.For, s.Delay = d.between(300*time.Millisecond, 6*time.Second), d.between(time.Millisecond, 3*time.Second)
	case Deploy, Scale:
		s.Replicas = leastReplicas + d.IntN(mostReplicas-leastReplicas+1)
		s.Old, s.Half = d.chance(2) && old, d.chance(3)
		s.Grace = grace
		if d.chance(4) { // platforms sometimes kill earlier than they promise
			s.Grace = d.between(100*time.Millisecond, 8*time.Second)
		}
		s.First = []string{"", "app", "sidecar"}[d.IntN(3)]
		s.Lead = d.between(10*time.Millisecond, 3*time.Second)
	}
	return s
}

func (d dice) kind() Kind {
	all := 0
	for _, w := range weights {
		all += w
	}
	n, k := d.IntN(all), 0
	for ; n >= weights[k]; k++ {
		n -= weights[k]
	}
	return Kind(k)
}

// lossy draws the wire that loses answers, mostly PostgreSQL's: an unknown commit
// is the hardest case.
func (d dice) lossy() Wire {
	return []Wire{BalancerWire, AppWire, DatabaseWire, DatabaseWire}[d.IntN(4)]
}

// chance is true once in n times.
func (d dice) chance(n int) bool { return d.IntN(n) == 0 }

// between draws a duration so that every order of magnitude is equally likely.
// Most are short, since a long fault leaves less time for others.
func (d dice) between(lo, hi time.Duration) time.Duration {
	x := math.Log(float64(lo)) + d.Float64()*(math.Log(float64(hi))-math.Log(float64(lo)))
	return time.Duration(math.Exp(x)).Round(time.Millisecond)
}

// freeze draws a short time, or one in five times one so long that the other
// replicas take this one for dead.
func (d dice) freeze(longest time.Duration) time.Duration {
	if d.chance(5) {
		return d.between(8*time.Second, longest)
	}
	return d.between(300*time.Millisecond, 8*time.Second)
}

// String says what the step does, but not to which replica.
func (s Step) String() string {
	switch s.Kind {
	case CutWire, DelayWire, DropAnswers:
		text := fmt.Sprintf("%s to %s for %s", s.Kind, s.Wire, s.For)
		if s.Delay > 0 {
			text += fmt.Sprintf(", %s", s.Delay)
		}
		return text
	case Deploy:
		return fmt.Sprintf("deploy, previous version %v, grace %s", s.Old, s.Grace)
	case Scale:
		return fmt.Sprintf("scale to %d, grace %s", s.Replicas, s.Grace)
	case KillApp, KillSidecar, KillBoth:
		return s.Kind.String()
	case KillDatabase, KillAll, FreezeSidecar, FreezeDatabase:
		return fmt.Sprintf("%s for %s", s.Kind, s.For)
	}
	return s.Kind.String()
}
