package supervise

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sidecar/internal/gate"
)

// A part that does not end is named, and only that.
func TestASlowPartIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, log := replica(t, nobody, gate.PerLane)
		stop, release := make(chan struct{}), make(chan struct{})
		r.parts.start("quick", func() { <-stop })
		r.parts.start("stubborn", func() { <-release })
		if names := r.parts.names(); !slices.Equal(names, []string{"quick", "stubborn"}) {
			t.Errorf("running: %v", names)
		}
		time.AfterFunc(2*slowStep, func() { close(release) })
		r.step("loops", time.Now().Add(10*slowStep), "It failed", func(ctx context.Context) error {
			return r.endLoops(ctx, func() { close(stop) })
		})
		if log.Count("Part is slow to stop") != 1 || log.Count("part=stubborn") != 1 {
			t.Errorf("the log is %s", log)
		}
		if names := r.parts.names(); len(names) != 0 {
			t.Errorf("still running: %v", names)
		}
	})
}
