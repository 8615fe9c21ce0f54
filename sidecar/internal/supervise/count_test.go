package supervise

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/gate"
)

// countedStore is a queue of which nothing but its size is asked.
type countedStore struct {
	Store
	stats    buffer.Stats
	fails    error         // of a count
	takes    time.Duration // a count
	flow     buffer.Flow
	inserted int64 // from one question to the next
	sequence int64
	counts   int
}

func (s *countedStore) Flow() buffer.Flow { return s.flow }

func (s *countedStore) Inserted(context.Context) (int64, error) {
	s.sequence += s.inserted
	return s.sequence, nil
}

func (s *countedStore) Ping(context.Context) error { return nil }

func (s *countedStore) Stats(context.Context) (buffer.Stats, error) {
	<-time.After(s.takes)
	s.counts++
	return s.stats, s.fails
}

// counting returns a replica that has counted once, in a bubble.
func counting(t *testing.T, s *countedStore) *Replica {
	t.Helper()
	r, _ := replica(t, nobody, gate.PerLane)
	r.store = s
	r.cfg.HoldMaxRows, r.cfg.HoldMaxBytes, r.cfg.HoldMaxUnverifiedBytes = 1000, 1_000_000, 1_000_000
	r.joined.Store(true)
	if err := r.count(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// What a replica stores itself fills the queue at once, however old the count is,
// and what it delivers makes room.
func TestOwnWebhooksCountAtOnce(t *testing.T) {
	s := &countedStore{stats: buffer.Stats{Pending: 990, Bytes: 99_000}}
	r := counting(t, s)
	for _, c := range []struct {
		flow buffer.Flow
		full bool
	}{
		{buffer.Flow{Rows: 9, Bytes: 900}, false},
		{buffer.Flow{Rows: 10, Bytes: 1000}, true},
		{buffer.Flow{Rows: 10, Bytes: 1000, Ended: 1}, false},
		{buffer.Flow{Rows: 9, Bytes: 901_000}, true},
		{buffer.Flow{Rows: 9, Bytes: 901_000, Ended: 500}, false},
		{buffer.Flow{Ended: 5000}, false},
	} {
		s.flow = c.flow
		if v := r.ingressVitals(); v.Full != c.full {
			t.Errorf("after %+v full is %v, want %v", c.flow, v.Full, c.full)
		}
	}
}

// A count that takes long is made rarely, and soon when what others may have
// inserted reaches a limit.
func TestLongCountsAreRare(t *testing.T) {
	for name, c := range map[string]struct {
		takes       time.Duration
		inserted    int64
		least, most int // counts in two minutes after the first
	}{
		"short":                          {time.Millisecond, 0, 110, 121},
		"long":                           {time.Second, 0, 5, 7},
		"very long":                      {30 * time.Second, 0, 1, 2},
		"long, and others insert":        {time.Second, 9000, 20, 41},
		"long, and others insert little": {time.Second, 1, 5, 7},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &countedStore{stats: buffer.Stats{Pending: 900}, takes: c.takes}
				r := counting(t, s)
				s.counts, s.inserted = 0, c.inserted
				ctx, end := context.WithTimeout(t.Context(), 2*time.Minute)
				defer end()
				r.countLoop(ctx)
				if s.counts < c.least || s.counts > c.most {
					t.Errorf("counted %d times, want %d to %d", s.counts, c.least, c.most)
				}
			})
		})
	}
}

// A database in which the queue cannot be counted in time is there all the same: the
// replica stays in ingress and holds.
func TestFailedCountIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &countedStore{stats: buffer.Stats{Pending: 7}}
		r := counting(t, s)
		s.fails = errors.New("statement timeout")
		ctx, end := context.WithTimeout(t.Context(), 30*time.Second)
		defer end()
		go r.vitalsLoop(ctx)
		r.countLoop(ctx)
		if err := r.Ready(); err != nil || !r.ingressVitals().Database {
			t.Errorf("not ready: %v", err)
		}
		if held := r.ingressVitals().Held; held != 7 {
			t.Errorf("held is %d, want what was counted before", held)
		}
	})
}
