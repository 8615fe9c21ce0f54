package chaos

import (
	"reflect"
	"testing"
	"time"
)

func TestSameSeedSamePlan(t *testing.T) {
	const length, every = 10 * time.Minute, 2 * time.Second
	a, b := NewPlan(7, length, every, true), NewPlan(7, length, every, true)
	if !reflect.DeepEqual(a, b) {
		t.Error("one seed gave two plans")
	}
	if c := NewPlan(8, length, every, true); reflect.DeepEqual(a, c) {
		t.Error("two seeds gave one plan")
	}
}

func TestPlanHasEverything(t *testing.T) {
	const length = 10 * time.Minute
	plan := NewPlan(1, length, 2*time.Second, true)
	last := time.Duration(0)
	kinds := map[Kind]bool{}
	onWire, old, replicas, early := map[Wire]bool{}, map[bool]bool{}, map[int]bool{}, false
	for _, s := range plan {
		if s.At < last || s.At < calm || s.At > length-calm {
			t.Fatalf("step at %s after %s", s.At, last)
		}
		last = s.At
		kinds[s.Kind] = true
		if s.For < 0 || s.For > 30*time.Second {
			t.Errorf("%v lasts %s", s, s.For)
		}
		switch s.Kind {
		case CutWire, DelayWire, DropAnswers:
			onWire[s.Wire] = true
		case Deploy:
			old[s.Old] = true
			early = early || s.Grace < grace
		case Scale:
			replicas[s.Replicas] = true
		}
	}
	if len(kinds) != len(kindNames) {
		t.Errorf("only %v", kinds)
	}
	if len(onWire) != int(wires) || len(old) != 2 || len(replicas) != mostReplicas-leastReplicas+1 || !early {
		t.Errorf("wires %v, versions %v, replicas %v, an early SIGKILL %v", onWire, old, replicas, early)
	}
	for _, s := range NewPlan(1, length, 2*time.Second, false) {
		if s.Old {
			t.Errorf("%v though there is no previous version", s)
		}
	}
}
