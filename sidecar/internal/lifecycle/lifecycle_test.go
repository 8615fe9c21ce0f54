package lifecycle

import "testing"

var (
	states = []State{Starting, Replaying, Passing, Holding, Paused, Draining, Stopped}
	events = []Event{AppUp, AppDown, BacklogEmpty, Pause, Resume, Terminate, Drained}
)

// want is a second copy of the table, written cell by cell: rows are states, columns
// are events, "." leaves the state unchanged.
var want = map[State][7]string{
	//          app_up       app_down   empty      pause     resume     terminate   drained
	Starting:  {"replaying", ".", ".", "paused", ".", "draining", "."},
	Replaying: {".", "holding", "passing", "paused", ".", "draining", "."},
	Passing:   {".", "holding", ".", "paused", ".", "draining", "."},
	Holding:   {"replaying", ".", ".", "paused", ".", "draining", "."},
	Paused:    {".", ".", ".", ".", "holding", "draining", "."},
	Draining:  {".", ".", ".", ".", ".", ".", "stopped"},
	Stopped:   {".", ".", ".", ".", ".", ".", "."},
}

func TestNextFollowsTheWholeTable(t *testing.T) {
	if len(want) != len(states) {
		t.Fatalf("table has %d states, want %d", len(want), len(states))
	}
	for _, s := range states {
		for i, e := range events {
			exp := want[s][i]
			if exp == "." {
				exp = s.String()
			}
			if got := Next(s, e).String(); got != exp {
				t.Errorf("Next(%v, %v) = %v, want %v", s, e, got, exp)
			}
		}
	}
}

func TestStoppedIsTheOnlyEndAndReachableFromEverywhere(t *testing.T) {
	for _, s := range states {
		if got := Next(Next(s, Terminate), Drained); got != Stopped {
			t.Errorf("%v, terminate, drained = %v, want stopped", s, got)
		}
	}
}

func TestNamesOutOfRange(t *testing.T) {
	if State(99).String() != "state(99)" || Event(-1).String() != "event(-1)" {
		t.Error("a value out of range has no readable name")
	}
}
