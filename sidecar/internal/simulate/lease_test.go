package simulate

import (
	"context"
	"slices"
	"time"

	"sluice/sidecar/internal/buffer"
)

const leaseTrust = 10 * time.Second // by the replica's clock

// found is what the first statement of a renewal reads.
type found struct {
	leases [bucketCount]lease
	free   [bucketCount]bool
	able   []string
}

// RenewLeases is the buffer's: it reads the leases in one statement, decides
// what to renew and take, and does that in a second one, which compares epochs.
func (s *store) RenewLeases(ctx context.Context) (held []buffer.Lease, excess []int, err error) {
	held, err = do(ctx, s, vitalTimeout, "renew leases", func(ctx context.Context) ([]buffer.Lease, error) {
		f, err := one(ctx, s, opLease, s.readLeases)
		if err != nil {
			return nil, err
		}
		var want []int
		want, excess = share(s.instance, f)
		if len(want) == 0 {
			return nil, nil
		}
		until := time.Now().Add(leaseTrust)
		return one(ctx, s, opLease, func() []buffer.Lease { return s.takeLeases(f, want, until) })
	})
	if err != nil {
		return nil, []int{}, err
	}
	return held, excess, nil
}

func (s *store) readLeases() found {
	f := found{leases: s.db.leases}
	for b, l := range f.leases {
		f.free[b] = l.holder == "" || !l.expires.After(s.db.now())
	}
	for _, m := range s.db.replicas {
		if (m.state == "replaying" || m.state == "passing") && m.seen.After(s.db.now().Add(-deadAfter)) {
			f.able = append(f.able, m.id)
		}
	}
	slices.Sort(f.able)
	return f
}

func (s *store) takeLeases(f found, want []int, until time.Time) (held []buffer.Lease) {
	for _, b := range want {
		l := &s.db.leases[b]
		if l.epoch != f.leases[b].epoch || l.holder != s.instance && l.holder != "" && l.expires.After(s.db.now()) {
			continue
		}
		if l.holder != s.instance {
			l.epoch++
		}
		l.holder, l.expires = s.instance, s.db.now().Add(leaseTTL)
		held = append(held, buffer.Lease{Bucket: b, Epoch: l.epoch, Until: until})
	}
	return held
}

// share is the buffer's decision on who is due how many buckets.
func share(me string, f found) (want, excess []int) {
	count := map[string]int{me: 0}
	for _, id := range f.able {
		count[id] = 0
	}
	var free []int
	for b, l := range f.leases {
		switch {
		case l.holder == me:
			want = append(want, b)
		case f.free[b]:
			free = append(free, b)
		}
		if _, ok := count[l.holder]; ok && (!f.free[b] || l.holder == me) {
			count[l.holder]++
		}
	}
	due, extra := bucketCount/len(count), bucketCount%len(count)
	lacking := 0
	for id, n := range count {
		if id == me {
			continue
		}
		lacking += max(0, due-n)
		if n > due {
			extra--
		}
	}
	limit := due
	if extra > 0 {
		limit++
	}
	mine := len(want)
	excess = []int{}
	if take := min(len(free), limit-mine); take > 0 {
		want, free = append(want, free[:take]...), free[take:]
	}
	for give := max(min(mine-due, lacking-len(free)), mine-due-1); give > 0; give-- {
		mine--
		excess = append(excess, want[mine])
	}
	return want, excess
}

func (s *store) ReleaseLeases(ctx context.Context, buckets []int) error {
	if buckets != nil && len(buckets) == 0 {
		return nil
	}
	return change(ctx, s, vitalTimeout, opLease, "release leases", func() {
		for b := range s.db.leases {
			l := &s.db.leases[b]
			if l.holder != s.instance || buckets != nil && !slices.Contains(buckets, b) {
				continue
			}
			for _, r := range s.db.rows {
				if r.bucket == b && r.active() && r.epoch == l.epoch && r.awaitedBy == "" {
					r.status, r.epoch, r.attempts = "pending", 0, max(r.attempts-1, 0)
				}
			}
			l.holder, l.expires = "", time.Time{}
		}
	})
}
