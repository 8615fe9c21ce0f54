package simulate

import (
	"cmp"
	"context"
	"slices"
	"time"

	"sluice/sidecar/internal/buffer"
)

func (s *store) Seq() int64 { return s.seq.Load() }

// Join is the buffer's: an older process of the same name is dead by it, its
// leases are free and what it awaited is pending.
func (s *store) Join(ctx context.Context, state string) error {
	type joined struct {
		seq  int64
		seen time.Time
	}
	j, err := query(ctx, s, vitalTimeout, opMember, "join replicas", func() joined {
		me := s.member(state, 0)
		s.db.seqs++
		me.seq, me.state, me.strict, me.seen, me.keys = s.db.seqs, state, s.config.Strict, s.db.now(), s.keys
		for _, old := range s.db.replicas {
			if old.name != me.name || old.name == "" || old.id == me.id || old.started.After(me.started) {
				continue
			}
			if old.living() {
				old.state = "dead"
			}
			for b := range s.db.leases {
				if l := &s.db.leases[b]; l.holder == old.id {
					l.expires = time.Time{}
				}
			}
			s.orphan(func(by string) bool { return by == old.id })
		}
		s.db.line.note("db", "%s has joined as %d", s.name, me.seq)
		return joined{me.seq, me.seen}
	})
	if err == nil {
		s.seq.Store(j.seq)
		s.sawAt(j.seen)
	}
	return err
}

// member returns this replica's row, which it makes where there is none.
func (s *store) member(state string, seen int64) *member {
	m := s.db.replicas[s.instance]
	if m == nil {
		s.db.seqs++
		m = &member{id: s.instance, name: s.config.Name, state: state, strict: s.config.Strict, seq: s.db.seqs,
			seenSeq: seen, started: s.db.now(), seen: s.db.now()}
		s.db.replicas[s.instance] = m
	}
	return m
}

// orphan gives up the late answers that those replicas await.
func (s *store) orphan(of func(instance string) bool) {
	for _, r := range s.db.rows {
		if r.active() && r.awaitedBy != "" && of(r.awaitedBy) {
			s.db.line.tell("db", r.name(), "pending again: %s, which awaited its answer, is dead", s.db.called(r.awaitedBy))
			r.status, r.awaitedBy = "pending", ""
		}
	}
}

func (s *store) Beat(ctx context.Context, p buffer.Presence) ([]buffer.Peer, time.Duration, error) {
	judge := s.mayJudge()
	type heard struct {
		seq   int64
		seen  time.Time
		peers []buffer.Peer
	}
	h, err := query(ctx, s, vitalTimeout, opMember, "beat", func() (h heard) {
		h.peers = s.beat(p, judge)
		me := s.db.replicas[s.instance]
		h.seq, h.seen = me.seq, me.seen
		return h
	})
	if err != nil {
		return nil, 0, err
	}
	s.seq.Store(h.seq)
	s.lastBeat.Store(int64(time.Since(s.opened)))
	return h.peers, s.sawAt(h.seen), nil
}

// sawAt notes when the database saw this replica and returns how long that was
// after the time before.
func (s *store) sawAt(seen time.Time) (gap time.Duration) {
	if before := s.seen.Swap(&seen); before != nil {
		gap = seen.Sub(*before)
	}
	return gap
}

func (s *store) beat(p buffer.Presence, judge bool) (peers []buffer.Peer) {
	now := s.db.now()
	// The statement's parts see the table as it was before: who is dead by it
	// is so in the next one, but a judge does not list whom it finds silent.
	lapsed := func(m *member) bool { return m.seen.Before(now.Add(-deadAfter)) }
	for _, m := range s.db.replicas {
		if m.id == s.instance || !m.living() || judge && lapsed(m) {
			continue
		}
		peers = append(peers, buffer.Peer{Instance: m.id, Name: m.name, State: m.state, Strict: m.strict,
			Seq: m.seq, SeenSeq: m.seenSeq, Age: now.Sub(m.seen)})
	}
	slices.SortFunc(peers, func(a, b buffer.Peer) int { return cmp.Compare(a.Seq, b.Seq) })
	if judge {
		s.orphan(func(by string) bool {
			m := s.db.replicas[by]
			return by != s.instance && (m == nil || !m.living() || lapsed(m))
		})
		for _, m := range s.db.replicas {
			if m.id != s.instance && m.living() && lapsed(m) {
				m.state = "dead"
				s.db.line.note("db", "%s declares %s dead", s.name, s.db.called(m.id))
			}
		}
	}
	me := s.member(p.State, p.SeenSeq)
	me.seen, me.state, me.seenSeq, me.breakerOpen, me.keys = now, p.State, p.SeenSeq, p.BreakerOpen, s.keys
	return peers
}

func (s *store) mayJudge() bool {
	now := int64(time.Since(s.opened))
	if last := s.lastBeat.Load(); last > 0 && now-last > int64(deadAfter) {
		s.noJudge.Store(now + int64(deadAfter))
	}
	return now >= s.noJudge.Load()
}

func (s *store) Leave(ctx context.Context) error {
	if err := s.ReleaseLeases(ctx, nil); err != nil {
		return err
	}
	return change(ctx, s, vitalTimeout, opMember, "leave replicas", func() {
		s.orphan(func(by string) bool { return by == s.instance })
		if m := s.db.replicas[s.instance]; m != nil {
			m.state, m.seen = "stopped", s.db.now()
		}
		s.db.line.note("db", "%s has left", s.name)
	})
}
