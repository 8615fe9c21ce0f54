package simulate

import (
	"context"
	"slices"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/share"
)

const leaseTrust = 10 * time.Second // by the replica's clock

// RenewLeases is the buffer's: it reads the leases in one statement, decides
// what to renew and take, and does that in a second one, which compares epochs.
func (s *store) RenewLeases(ctx context.Context, breakerOpen bool) (held []buffer.Lease, excess []int, short bool, err error) {
	due := 0
	held, err = do(ctx, s, vitalTimeout, "renew leases", func(ctx context.Context) ([]buffer.Lease, error) {
		f, err := one(ctx, s, opLease, s.readLeases)
		if err != nil {
			return nil, err
		}
		me := share.Replica{ID: s.instance, Open: breakerOpen, Keys: s.keys}
		var want []share.Bucket
		want, excess = share.Share(me, f.leases, f.living)
		due = share.Due(me, f.leases, f.living)
		if len(want) == 0 {
			return nil, nil
		}
		until := time.Now().Add(leaseTrust)
		return one(ctx, s, opLease, func() []buffer.Lease { return s.takeLeases(want, until) })
	})
	if err != nil {
		return nil, []int{}, false, err
	}
	return held, excess, len(held) < due, nil
}

// found is what the first statement of a renewal reads.
type found struct {
	leases []share.Bucket
	living []share.Replica
}

func (s *store) readLeases() (f found) {
	for b, l := range s.db.leases {
		free := l.holder == "" || !l.expires.After(s.db.now())
		f.leases = append(f.leases, share.Bucket{Number: b, Holder: l.holder, Free: free, Epoch: l.epoch, Key: l.key})
	}
	for _, m := range s.db.replicas {
		if (m.state == "replaying" || m.state == "passing") && m.seen.After(s.db.now().Add(-deadAfter)) {
			f.living = append(f.living, share.Replica{ID: m.id, Open: m.breakerOpen, Keys: m.keys})
		}
	}
	return f
}

func (s *store) takeLeases(want []share.Bucket, until time.Time) (held []buffer.Lease) {
	for _, w := range want {
		b := w.Number
		l := &s.db.leases[b]
		if l.epoch != w.Epoch || l.holder != s.instance && l.holder != "" && l.expires.After(s.db.now()) {
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
