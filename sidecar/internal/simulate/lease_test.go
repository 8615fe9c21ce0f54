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
	able   []candidate
}

// candidate is a replica that may hold leases.
type candidate struct {
	id   string
	open bool // its breaker is open
	keys []string
}

// RenewLeases is the buffer's: it reads the leases in one statement, decides
// what to renew and take, and does that in a second one, which compares epochs.
func (s *store) RenewLeases(ctx context.Context, breakerOpen bool) (held []buffer.Lease, excess []int, short bool, err error) {
	held, err = do(ctx, s, vitalTimeout, "renew leases", func(ctx context.Context) ([]buffer.Lease, error) {
		f, err := one(ctx, s, opLease, s.readLeases)
		if err != nil {
			return nil, err
		}
		var want []int
		_, equals := candidates(candidate{s.instance, breakerOpen, s.keys}, f.able)
		short = len(equals) <= bucketCount
		want, excess = share(candidate{s.instance, breakerOpen, s.keys}, f)
		if len(want) == 0 {
			return nil, nil
		}
		until := time.Now().Add(leaseTrust)
		return one(ctx, s, opLease, func() []buffer.Lease { return s.takeLeases(f, want, until) })
	})
	if err != nil {
		return nil, []int{}, false, err
	}
	return held, excess, short && len(held) == 0, nil
}

func (s *store) readLeases() found {
	f := found{leases: s.db.leases}
	for b, l := range f.leases {
		f.free[b] = l.holder == "" || !l.expires.After(s.db.now())
	}
	for _, m := range s.db.replicas {
		if (m.state == "replaying" || m.state == "passing") && m.seen.After(s.db.now().Add(-deadAfter)) {
			f.able = append(f.able, candidate{m.id, m.breakerOpen, m.keys})
		}
	}
	return f
}

func (s *store) takeLeases(f found, want []int, until time.Time) (held []buffer.Lease) {
	for _, b := range want {
		l := &s.db.leases[b]
		if l.epoch != f.leases[b].epoch || l.holder != s.instance && l.holder != "" && l.expires.After(s.db.now()) {
			continue
		}
		lapsed := l.holder != "" && l.holder != s.instance
		if l.holder != s.instance {
			l.epoch++
		}
		if l.key != "" && !slices.ContainsFunc(s.db.rows, func(r *row) bool { return r.active() && r.bucket == b && r.keyID == l.key }) {
			l.key = ""
		}
		l.holder, l.expires = s.instance, s.db.now().Add(leaseTTL)
		held = append(held, buffer.Lease{Bucket: b, Epoch: l.epoch, Until: until, Lapsed: lapsed})
	}
	return held
}

func (s *store) NeedKey(ctx context.Context, l buffer.Lease, key string) error {
	return change(ctx, s, vitalTimeout, opLease, "ask for key", func() {
		if m := &s.db.leases[l.Bucket]; m.epoch == l.Epoch && m.holder == s.instance {
			m.key = key
		}
	})
}

// share is the buffer's decision on who is due which buckets.
func share(me candidate, f found) (want, excess []int) {
	excess = []int{}
	all, equals := candidates(me, f.able)
	fit := slices.ContainsFunc(equals, func(c candidate) bool { return c.id == me.id })
	var common []int
	for b, l := range f.leases {
		mine := l.holder == me.id
		openers := having(l.key, equals)
		if openers == nil {
			openers = having(l.key, all)
		}
		switch {
		case openers != nil:
			if keeps := slices.Contains(openers, me.id); !keeps && mine {
				want, excess = append(want, b), append(excess, b)
			} else if keeps && (f.free[b] || mine) {
				want = append(want, b)
			}
		case fit:
			common = append(common, b)
		case mine:
			want, excess = append(want, b), append(excess, b)
		}
	}
	if !fit {
		return want, excess
	}
	ours, surplus := fairShare(me.id, common, f, equals)
	return append(want, ours...), append(excess, surplus...)
}

func having(key string, among []candidate) (ids []string) {
	for _, c := range among {
		if key != "" && slices.Contains(c.keys, key) {
			ids = append(ids, c.id)
		}
	}
	return ids
}

// candidates returns all replicas, and those that should hold leases: those whose
// breaker is closed, or all when none is.
func candidates(me candidate, able []candidate) (all, equals []candidate) {
	all = []candidate{me}
	for _, c := range able {
		if c.id != me.id {
			all = append(all, c)
		}
	}
	equals = slices.DeleteFunc(slices.Clone(all), func(c candidate) bool { return c.open })
	if len(equals) == 0 {
		return all, all
	}
	return all, equals
}

func fairShare(me string, buckets []int, f found, equals []candidate) (want, excess []int) {
	count := map[string]int{}
	for _, c := range equals {
		count[c.id] = 0
	}
	var free []int
	for _, b := range buckets {
		l := f.leases[b]
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
	due, extra := len(buckets)/len(count), len(buckets)%len(count)
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
			l.holder, l.expires = "", time.Time{}
		}
	})
}
