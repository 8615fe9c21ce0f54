package replay_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/metrics"
	"sluice/sidecar/internal/replay"
)

// A database that is too slow for a look over many lanes is not away: nothing
// passes unseen, and shorter looks come to the end. One that answers nothing is.
func TestSlowLooksAreNoOutage(t *testing.T) {
	for name, c := range map[string]struct {
		longest int
		cut     bool
		within  time.Duration
		want    lifecycle.State
		verdict gate.Verdict
	}{
		"any page is read":         {0, false, 2 * time.Second, lifecycle.Passing, gate.Forward},
		"pages are too long yet":   {100, false, 8 * time.Second, lifecycle.Replaying, gate.Hold},
		"short pages are read":     {100, false, 30 * time.Second, lifecycle.Passing, gate.Forward},
		"no page is short enough":  {1, false, 5 * time.Minute, lifecycle.Replaying, gate.Hold},
		"nothing is answered yet":  {0, true, 2 * time.Second, lifecycle.Replaying, gate.Hold},
		"nothing is ever answered": {0, true, 30 * time.Second, lifecycle.Replaying, gate.Forward},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				w.store.faults, w.store.longest, w.store.cut = 0, c.longest, c.cut
				g := gate.New(gate.Config{})
				r := replay.New(replay.Deps{Store: w.store, Gate: g, App: w, Healthy: func() bool { return false },
					Metrics: metrics.New(), Log: slog.New(slog.DiscardHandler)})
				g.Fire(lifecycle.AppUp)
				ctx, end := context.WithCancel(t.Context())
				var running sync.WaitGroup
				running.Go(func() { r.Run(ctx) })
				<-time.After(c.within)
				if g.State() != c.want {
					t.Errorf("state %v, want %v", g.State(), c.want)
				}
				if v, _ := g.Enter("unknown", false); v != c.verdict {
					t.Errorf("verdict %d about a lane not looked at, want %d", v, c.verdict)
				}
				end()
				running.Wait()
			})
		})
	}
}
