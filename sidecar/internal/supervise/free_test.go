package supervise

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/loop"
)

// awayStore cannot be reached.
type awayStore struct {
	countedStore
	asked int
}

func (s *awayStore) FreeAwaited(context.Context, func(string) bool) (int64, error) {
	s.asked++
	return 0, errors.New("away")
}

// While PostgreSQL is away each insert that fails says that a row may be awaited by
// nobody. That is looked for once a second all the same, and logged as often.
func TestFreeingWaitsWhileTheDatabaseIsAway(t *testing.T) {
	r, log := replica(t, nobody, gate.PerLane)
	synctest.Test(t, func(t *testing.T) {
		store := &awayStore{}
		r.store, r.orphaned = store, make(chan struct{}, 1)
		r.joined.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+time.Millisecond)
		defer cancel()
		go func() {
			for loop.Tick(ctx, time.Millisecond, nil) {
				loop.Poke(r.orphaned)
			}
		}()
		r.freeLoop(ctx)
		if store.asked < 9 || store.asked > 12 {
			t.Errorf("asked %d times in 10 s", store.asked)
		}
		if n := log.Count("retrying"); n < 9 || n > store.asked { // at the end there is no line
			t.Errorf("%d lines for %d tries", n, store.asked)
		}
		cancel()
		synctest.Wait()
	})
}
