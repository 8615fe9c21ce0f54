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

// slowOnce is a store of which one look takes seconds.
type slowOnce struct {
	*store
	left int
}

func (s *slowOnce) Backlog(ctx context.Context, lanes []string, limit int) (map[string]int, error) {
	if s.left > 0 && lanes[0] != "" {
		s.left--
		<-time.After(4 * time.Second)
	}
	return s.store.Backlog(ctx, lanes, limit)
}

// One look that is slow for another reason than the number of its lanes does not
// put the next one off: the lane may be empty by then.
func TestOneSlowLookKeepsNoLaneShut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.store.faults = 0
		if err := w.store.append("lane", 1); err != nil {
			t.Fatal(err)
		}
		s := &slowOnce{w.store, 1}
		g := gate.New(gate.Config{})
		r := replay.New(replay.Deps{Store: s, Gate: g, App: w, Healthy: func() bool { return false },
			Metrics: metrics.New(), Log: slog.New(slog.DiscardHandler)})
		g.Fire(lifecycle.AppUp)
		ctx, end := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { r.Run(ctx) })
		<-time.After(5 * time.Second)
		w.store.mu.Lock()
		w.store.rows[0].status = "completed" // by another replica
		w.store.mu.Unlock()
		<-time.After(2 * time.Second)
		if g.State() != lifecycle.Passing {
			t.Errorf("state %v two seconds after the lane became empty", g.State())
		}
		end()
		running.Wait()
	})
}
