package replay_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sidecar/internal/lifecycle"
)

// A replica without a lease asks no more often than one that has some, unless
// others are about to hand it one over.
func TestReplicaWithoutALease(t *testing.T) {
	const minute = time.Minute
	for name, c := range map[string]struct {
		short       bool
		least, most int
	}{
		"among more replicas than buckets": {false, 10, 21},
		"that is due some":                 {true, 60, 241},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				w.store.faults, w.store.short = 0, c.short
				for b := range w.store.theirs {
					w.store.theirs[b] = true
				}
				w.healthy.Store(true)
				w.gate.Fire(lifecycle.AppUp)
				ctx, end := context.WithCancel(t.Context())
				var running sync.WaitGroup
				running.Go(func() { w.replay.Run(ctx) })
				<-time.After(minute)
				end()
				running.Wait()
				if n := w.store.renewals; n < c.least || n > c.most {
					t.Errorf("it asked %d times in a minute, want %d to %d", n, c.least, c.most)
				}
			})
		})
	}
}
