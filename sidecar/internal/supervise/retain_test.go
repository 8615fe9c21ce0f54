package supervise

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sidecar/internal/gate"
)

// retained is a store that notes when old rows are deleted.
type retained struct {
	Store
	at []time.Time
}

func (s *retained) Retain(context.Context, time.Duration) (int64, error) {
	s.at = append(s.at, time.Now())
	return 0, nil
}

// Replicas that started together delete old rows at times of their own, each
// soon after its start and about once an hour.
func TestReplicasRetainApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		began := time.Now()
		var loops sync.WaitGroup
		var stores []*retained
		for range 20 {
			r, _ := replica(t, nobody, gate.PerLane)
			s := &retained{}
			r.store = s
			stores = append(stores, s)
			loops.Go(func() { r.retainLoop(ctx) })
		}
		<-time.After(12 * time.Hour)
		stop()
		loops.Wait()
		minutes := map[time.Duration]int{}
		for _, s := range stores {
			if len(s.at) < 10 || len(s.at) > 14 || s.at[0].Sub(began) > 11*time.Minute {
				t.Fatalf("%d times in 12 h, first after %s", len(s.at), s.at[0].Sub(began))
			}
			for n := range 10 {
				minutes[s.at[n].Sub(began)/time.Minute]++
			}
		}
		for minute, n := range minutes {
			if n >= len(stores)/2 {
				t.Errorf("%d of %d in minute %d", n, len(stores), minute)
			}
		}
	})
}
