package replay_test

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/request"
	"sluice/sidecar/internal/webhook"
)

var errLost = errors.New("answer lost")

// store is a queue in memory that is as cruel as a database may be: every call
// takes its time before and after it has its effect, and fails on either side
// of it.
type store struct {
	mu     sync.Mutex
	rng    *rand.Rand
	faults float64 // how often a call fails
	rows   []*row
	epochs [16]int64
	theirs [16]bool // leased to another replica
	cut    bool     // nobody reaches it
	last   time.Time

	longest  int // page of lanes that can be read in time, 0 for any
	renewals int
	short    bool // a replica without a lease is due one
}

type row struct {
	id       int64
	lane     string
	n        int
	status   string
	epoch    int64
	attempts int
}

func (r *row) active() bool { return r.status == "pending" || r.status == "processing" }

func bucketOf(lane string) int { return int(lane[len(lane)-1]) % 16 }

// lag waits for a while, or for long, in the bubble's time, and reports whether
// the call fails there.
func (s *store) lag(ctx context.Context) error {
	s.mu.Lock()
	d := time.Duration(s.rng.Int64N(int64(20 * time.Millisecond)))
	if s.rng.IntN(20) == 0 {
		d *= 30
	}
	fails := s.cut || s.rng.Float64() < s.faults
	s.mu.Unlock()
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return ctx.Err()
	}
	if fails {
		return errLost
	}
	return nil
}

// call is one round trip: effect happens between two lags, either of which may
// lose it or its answer.
func (s *store) call(ctx context.Context, effect func()) error {
	if err := s.lag(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	effect()
	s.mu.Unlock()
	return s.lag(ctx)
}

func (s *store) append(lane string, n int) error {
	return s.call(context.Background(), func() {
		s.rows = append(s.rows, &row{id: int64(len(s.rows) + 1), lane: lane, n: n, status: "pending"})
	})
}

func (s *store) NeedKey(context.Context, buffer.Lease, string) error { return nil }

func (s *store) RenewLeases(ctx context.Context, _ bool) (held []buffer.Lease, excess []int, short bool, err error) {
	until := time.Now().Add(10 * time.Second)
	err = s.call(ctx, func() {
		s.last = time.Now()
		s.renewals++
		for b := range s.theirs {
			if !s.theirs[b] {
				held = append(held, buffer.Lease{Bucket: b, Epoch: s.epochs[b], Until: until})
			}
		}
	})
	if err != nil {
		return nil, []int{}, false, err
	}
	return held, []int{}, s.short && len(held) == 0, nil
}

func (s *store) ReleaseLeases(ctx context.Context, buckets []int) error {
	return s.call(ctx, func() {
		for _, b := range buckets {
			if !s.theirs[b] {
				s.epochs[b]++
			}
		}
	})
}

func (s *store) Claim(ctx context.Context, leases []buffer.Lease, f buffer.ClaimFilter) (out []buffer.Row, more bool, err error) {
	err = s.call(ctx, func() {
		perLane := map[string]int{}
		for _, r := range s.rows {
			b := bucketOf(r.lane)
			i := slices.IndexFunc(leases, func(l buffer.Lease) bool { return l.Bucket == b && l.Epoch == s.epochs[b] })
			if i < 0 || s.theirs[b] || !r.active() || slices.Contains(f.InHand, r.id) || slices.Contains(f.SkipLanes, r.lane) ||
				perLane[r.lane] == f.PerLane || len(out) == f.Limit {
				continue
			}
			perLane[r.lane]++
			out = append(out, buffer.Row{QueueID: r.id, Attempt: r.attempts + 1, Bucket: b, Epoch: s.epochs[b], BodySize: 1, Webhook: webhook.Webhook{
				ID: "id", Source: "generic", Lane: r.lane, Head: request.NewHead("POST", "/", "h"), Body: []byte{byte(r.n)}, Attempts: r.n,
			}})
		}
	})
	if err != nil {
		return nil, false, err
	}
	slices.SortFunc(out, func(a, b buffer.Row) int { return cmp.Compare(a.QueueID, b.QueueID) })
	return out, false, nil
}

func (s *store) LoadBody(context.Context, *buffer.Row) error { return nil }

func (s *store) Settle(ctx context.Context, outcomes []buffer.Outcome) error {
	return s.call(ctx, func() {
		for _, o := range outcomes {
			r := s.rows[o.QueueID-1]
			ours := s.epochs[bucketOf(r.lane)] == o.Epoch && !s.theirs[bucketOf(r.lane)] && r.active()
			switch {
			case o.Result == buffer.Completed:
				r.status = "completed"
			case !ours:
			case o.Result == buffer.Failed:
				r.status = "failed"
			case o.Result == buffer.Tried:
				r.attempts = o.Attempt
			}
		}
	})
}

func (s *store) count(lanes func(string) bool, limit int) map[string]int {
	counts := map[string]int{}
	for _, r := range s.rows {
		if r.active() && lanes(r.lane) && counts[r.lane] < limit {
			counts[r.lane]++
		}
	}
	return counts
}

func (s *store) Backlog(ctx context.Context, lanes []string, limit int) (counts map[string]int, err error) {
	err = s.call(ctx, func() { counts = s.count(func(l string) bool { return slices.Contains(lanes, l) }, limit) })
	return counts, err
}

func (s *store) ActiveLanes(ctx context.Context, _ *buffer.LanePlace, page, limit int) (counts map[string]int, _ *buffer.LanePlace, err error) {
	if s.longest > 0 && page > s.longest {
		<-time.After(5 * time.Second)
		return nil, nil, errLost
	}
	err = s.call(ctx, func() { counts = s.count(func(string) bool { return true }, limit) })
	return counts, nil, err
}

// operator runs the runbook's UPDATE.
func (s *store) operator() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rows {
		if r.status == "processing" {
			r.status = "pending"
		}
	}
}

func (s *store) active() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rows {
		if r.active() {
			n++
		}
	}
	return n
}
