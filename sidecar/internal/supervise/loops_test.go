package supervise

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sidecar/internal/gate"
)

// What does not end is named, and only that.
func TestWhatIsSlowToEndIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, log := replica(t, nobody, gate.PerLane)
		stop, release := make(chan struct{}), make(chan struct{})
		r.loops.start("quick", func() { <-stop })
		r.loops.start("stubborn", func() { <-release })
		time.AfterFunc(2*slowStep, func() { close(release) })
		r.step("loops", time.Now().Add(10*slowStep), "It failed", func(ctx context.Context) error {
			return r.endLoops(ctx, func() { close(stop) })
		})
		if log.Count("Work in the background is slow to end") != 1 || log.Count("parts=[stubborn]") != 1 {
			t.Errorf("the log is %s", log)
		}
		if names := r.loops.running(); !slices.Equal(names, nil) {
			t.Errorf("still running: %v", names)
		}
	})
}
