package buffer

import (
	"bytes"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

type leaseRow struct {
	bucket int16
	holder pgtype.UUID
	epoch  int64
	free   bool   // held by nobody, or expired
	key    []byte // a row of the bucket needs it, nil for none
}

func (l leaseRow) heldBy(id uuid.UUID) bool { return l.holder.Valid && l.holder.Bytes == id }

// candidate is a replica that may hold leases.
type candidate struct {
	id   uuid.UUID
	open bool // its breaker is open
	keys [][]byte
}

func (c candidate) has(key []byte) bool {
	return slices.ContainsFunc(c.keys, func(k []byte) bool { return bytes.Equal(k, key) })
}

// share decides what me renews and takes, and what it has too much of. With n
// replicas everyone is due 16/n buckets, and the first 16%n to ask one more. A
// replica with an open breaker is due none while another's is closed, and a bucket
// that needs a key belongs to whoever has it, beside the fair shares: to one whose
// breaker is open if nobody else can open its rows.
func share(me candidate, leases []leaseRow, able []candidate) (want []leaseRow, excess []int) {
	excess = []int{} // never nil, which ReleaseLeases takes for all
	all, equals := candidates(me, able)
	fit := slices.ContainsFunc(equals, func(c candidate) bool { return c.id == me.id })
	var common []leaseRow
	for _, l := range leases {
		openers := having(l.key, equals)
		if openers == nil {
			openers = having(l.key, all)
		}
		switch {
		case openers != nil:
			if keeps := slices.Contains(openers, me.id); !keeps && l.heldBy(me.id) {
				want, excess = append(want, l), append(excess, int(l.bucket))
			} else if keeps && (l.free || l.heldBy(me.id)) {
				want = append(want, l)
			}
		case fit:
			common = append(common, l)
		case l.heldBy(me.id):
			want, excess = append(want, l), append(excess, int(l.bucket))
		}
	}
	if !fit {
		return want, excess
	}
	ours, surplus := fairShare(me.id, common, equals)
	return append(want, ours...), append(excess, surplus...)
}

// due is how many buckets each replica has at the least, of those that need no key.
func due(me candidate, leases []leaseRow, able []candidate) int {
	_, equals := candidates(me, able)
	if !slices.ContainsFunc(equals, func(c candidate) bool { return c.id == me.id }) {
		return 0
	}
	common := 0
	for _, l := range leases {
		if l.key == nil {
			common++
		}
	}
	return common / len(equals)
}

// having returns the replicas that have a key, nil when it is nil.
func having(key []byte, among []candidate) (ids []uuid.UUID) {
	for _, c := range among {
		if key != nil && c.has(key) {
			ids = append(ids, c.id)
		}
	}
	return ids
}

// candidates returns all replicas, and those that should hold leases, me among
// them or not: those whose breaker is closed, or all when none is.
func candidates(me candidate, able []candidate) (all, equals []candidate) {
	all = []candidate{me}
	for _, c := range able {
		if c.id != me.id {
			all = append(all, c)
		}
	}
	for _, c := range all {
		if !c.open {
			equals = append(equals, c)
		}
	}
	if equals == nil {
		return all, all
	}
	return all, equals
}

// fairShare is share among equals: me is one of them.
func fairShare(me uuid.UUID, leases []leaseRow, equals []candidate) (want []leaseRow, excess []int) {
	count := map[uuid.UUID]int{}
	for _, c := range equals {
		count[c.id] = 0
	}
	var free []leaseRow
	for _, l := range leases {
		switch {
		case l.heldBy(me): // also when it ran out and nobody took it
			want = append(want, l)
		case l.free:
			free = append(free, l)
		}
		if _, ok := count[l.holder.Bytes]; ok && l.holder.Valid && (!l.free || l.heldBy(me)) {
			count[l.holder.Bytes]++
		}
	}
	due, extra := len(leases)/len(count), len(leases)%len(count)
	lacking := 0 // what the others are short of
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
		excess = append(excess, int(want[mine].bucket))
	}
	return want, excess
}
