package simulate

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/request"
)

// Claim is the buffer's statement, which writes nothing: of the held buckets, the
// active rows that are not in hand, lowest id first in a lane, none behind an
// awaited one. It looks at a few lanes only, and the next one goes on behind them.
func (s *store) Claim(ctx context.Context, leases []buffer.Lease, f buffer.ClaimFilter) ([]buffer.Row, bool, error) {
	until := map[int]time.Time{}
	var in []buffer.Lease
	for _, l := range leases {
		if time.Now().Before(l.Until) {
			in, until[l.Bucket] = append(in, l), l.Until
		}
	}
	if len(in) == 0 {
		return nil, false, nil
	}
	after := s.after // a try that was given up may still read it
	got, err := query(ctx, s, queryTimeout, opClaim, "claim rows", func() claimed { return s.claim(in, f, after) })
	if err != nil {
		return nil, false, err
	}
	rows := got.rows
	s.after = got.end // "" for the beginning
	now := time.Now()
	rows = slices.DeleteFunc(rows, func(r buffer.Row) bool { return !now.Before(until[r.Bucket]) })
	slices.SortFunc(rows, func(a, b buffer.Row) int { return cmp.Compare(a.QueueID, b.QueueID) })
	return rows, got.more, nil
}

// claimed is the answer to a claim: its rows, the lane behind which the next one
// goes on, and whether there are lanes that it has not looked at.
type claimed struct {
	rows []buffer.Row
	end  string
	more bool
}

// walkLanes is how many lanes a claim looks at: so few that a world has more.
const walkLanes = 2

// walk returns the lanes that a claim looks at.
func (s *store) walk(after string) (lanes []string, end string, more bool) {
	all := map[string]bool{}
	for _, r := range s.db.inOrder() {
		all[r.hook.Lane] = true
	}
	sorted := slices.Sorted(maps.Keys(all))
	from, found := slices.BinarySearch(sorted, after)
	if found {
		from++
	}
	to := min(from+walkLanes, len(sorted))
	if to < len(sorted) {
		end = sorted[to-1]
	}
	return sorted[from:to], end, from > 0 || to < len(sorted)
}

func (s *store) claim(leases []buffer.Lease, f buffer.ClaimFilter, after string) (out claimed) {
	s.spins()
	limit, perLane := cmp.Or(f.Limit, 100), cmp.Or(f.PerLane, 32)
	shut, taken := map[string]bool{}, map[string]int{}
	lanes, end, more := s.walk(after)
	out.end, out.more = end, more
	for _, r := range s.db.inOrder() {
		l := s.db.leases[r.bucket]
		asked := slices.ContainsFunc(leases, func(m buffer.Lease) bool { return m.Bucket == r.bucket && m.Epoch == l.epoch })
		if !asked || l.holder != s.instance || !l.expires.After(s.db.now()) || shut[r.hook.Lane] {
			continue
		}
		if r.awaitedBy != "" {
			shut[r.hook.Lane] = true
			continue
		}
		if slices.Contains(f.InHand, r.id) || slices.Contains(f.SkipLanes, r.hook.Lane) || taken[r.hook.Lane] == perLane || len(out.rows) == limit || !slices.Contains(lanes, r.hook.Lane) {
			continue
		}
		taken[r.hook.Lane]++
		out.rows = append(out.rows, s.rowOf(r, l.epoch))
		s.db.line.add(true, "db", r.name(), "%s: claimed", s.name)
	}
	return out
}

// mostClaims is more than a busy replica makes in spinWindow, which pauses for at
// least 2 ms between two.
const (
	mostClaims = 2000
	spinWindow = 10 * time.Second
)

// spins counts the claims, to tell a replica that turns in a circle.
func (s *store) spins() {
	if time.Since(s.windowBegan) > spinWindow {
		s.windowBegan, s.claims = time.Now(), 0
	}
	if s.claims++; s.claims == mostClaims {
		s.db.spinning(s.name)
	}
}

func (s *store) rowOf(r *row, epoch int64) buffer.Row {
	w := r.hook
	w.Head, w.Body = append(request.Head(nil), w.Head...), append([]byte(nil), w.Body...)
	w.Attempts = r.attempts
	out := buffer.Row{QueueID: r.id, Attempt: r.attempts + 1, Bucket: r.bucket, Epoch: epoch, BodySize: len(w.Body), Webhook: w}
	if r.keyID != "" && !slices.Contains(s.keys, r.keyID) {
		out.Locked, out.Webhook.Head, out.Webhook.Body = r.keyID, nil, nil
	}
	if len(w.Body) > bigBody {
		out.Webhook.Body = nil
	}
	return out
}

const bigBody = 16 << 10 // the buffer's is larger; so the way is taken more often

func (s *store) LoadBody(ctx context.Context, r *buffer.Row) error {
	if r.Webhook.Body != nil || r.BodySize == 0 {
		return nil
	}
	body, err := query(ctx, s, queryTimeout, opClaim, "load body", func() []byte {
		return append([]byte(nil), s.db.find(r.QueueID).hook.Body...)
	})
	r.Webhook.Body = body
	return err
}

func (s *store) Settle(ctx context.Context, outcomes []buffer.Outcome) error {
	var failed error
	for _, result := range []buffer.Result{buffer.Completed, buffer.Failed, buffer.Tried} {
		var of []buffer.Outcome
		for _, o := range outcomes {
			if o.Result == result {
				of = append(of, o)
			}
		}
		if len(of) == 0 {
			continue
		}
		err := change(ctx, s, queryTimeout, opSettle, "settle rows", func() {
			for _, o := range of {
				s.settle(o)
			}
		})
		failed = cmp.Or(failed, err)
	}
	return failed
}

func (s *store) settle(o buffer.Outcome) {
	r := s.db.find(o.QueueID)
	if r == nil || r.status == "completed" {
		return
	}
	if o.Result == buffer.Completed {
		r.status, r.awaitedBy, r.attempts, r.key = "completed", "", max(r.attempts, o.Attempt), nil
		s.db.line.tell("db", r.name(), "%s: completed", s.name)
		return
	}
	if l := s.db.leases[r.bucket]; l.epoch != o.Epoch || l.holder != s.instance || r.awaitedBy != "" || !r.active() {
		return
	}
	switch o.Result {
	case buffer.Failed:
		r.status, r.attempts, r.reason, r.key = "failed", o.Attempt, o.Reason, nil
		s.db.line.tell("db", r.name(), "%s: failed after %d attempts: %s", s.name, o.Attempt, o.Reason)
		s.db.failed(r.name(), o.Attempt)
	case buffer.Tried:
		r.attempts, r.reason = o.Attempt, o.Reason
		s.db.line.add(true, "db", r.name(), "%s: attempt %d is recorded: %s", s.name, o.Attempt, o.Reason)
		s.db.tried(r.name(), o.Attempt, o.Reason)
	case buffer.Completed:
	}
}

func (s *store) Backlog(ctx context.Context, lanes []string, limit int) (map[string]int, error) {
	if len(lanes) == 0 {
		return map[string]int{}, nil
	}
	return s.count(ctx, "count backlog", limit, func(lane string) bool { return slices.Contains(lanes, lane) })
}

// ActiveLanes is the buffer's, which has every lane of a world on one page.
func (s *store) ActiveLanes(ctx context.Context, _ *buffer.LanePlace, _, limit int) (map[string]int, *buffer.LanePlace, error) {
	counts, err := s.count(ctx, "list active lanes", limit, func(string) bool { return true })
	return counts, nil, err
}

func (s *store) count(ctx context.Context, what string, limit int, asked func(string) bool) (map[string]int, error) {
	return query(ctx, s, queryTimeout, opLook, what, func() map[string]int {
		counts := map[string]int{}
		for _, r := range s.db.rows {
			if r.active() && asked(r.hook.Lane) && counts[r.hook.Lane] < limit {
				counts[r.hook.Lane]++
			}
		}
		return counts
	})
}
