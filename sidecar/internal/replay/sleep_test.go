package replay

import (
	"testing"
	"time"

	"sluice/sidecar/internal/buffer"
)

// A machine that has slept trusts no lease that it had before, whatever its clock
// says, until it has renewed it.
func TestSleepEndsTrust(t *testing.T) {
	asleep := time.Hour // before: that is no matter
	r := New(Deps{Config: Config{Concurrency: 1, Slept: func() time.Duration { return asleep }}})
	held := []buffer.Lease{{Bucket: 3, Epoch: 7, Until: time.Now().Add(time.Hour)}}
	h := &inHand{row: buffer.Row{Bucket: 3, Epoch: 7}}
	trusted := func(want bool) {
		t.Helper()
		if _, leases, _ := r.filter(); r.holds(h) != want || (len(leases) == 1) != want {
			t.Errorf("trusted=%v, %d leases to claim under, want %v", r.holds(h), len(leases), want)
		}
	}
	r.setLeases(held, r.Config.Slept())
	trusted(true)
	asleep += sleepMargin // as much as two readings of clocks may differ
	trusted(true)
	asleep++
	trusted(false)
	asked := r.Config.Slept()
	asleep += time.Minute // between the question and its answer
	r.setLeases(held, asked)
	trusted(false)
	r.setLeases(held, r.Config.Slept())
	trusted(true)
}

// This machine's own count of its sleep does not change while it works.
func TestSlept(t *testing.T) {
	before := slept()
	<-time.After(10 * time.Millisecond)
	if after := slept(); before < -sleepMargin || after-before > sleepMargin || before-after > sleepMargin {
		t.Errorf("slept for %s, then %s", before, after)
	}
}
