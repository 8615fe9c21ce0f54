// Package share divides the buckets of lanes among the replicas.
//
// It is pure: each replica reads the same leases and decides for itself what to
// renew, to take and to hand over, so that all end with fair shares. It must never
// assume that another replica decides at the same moment: the lease's epoch, which
// the buffer compares, settles who was first. buffer calls it for each renewal.
package share

import "slices"

// Bucket is a bucket of lanes as the table of leases has it.
type Bucket struct {
	Number int
	Holder string // id of the replica, "" for none; it may have expired
	Free   bool   // held by nobody, or expired
	Epoch  int64
	Key    string // id of the key that a row of the bucket needs, "" for none
}

// Replica is a living replica that may hold leases.
type Replica struct {
	ID   string
	Open bool     // its breaker is open
	Keys []string // ids of its BUFFER_KEYs
}

// Share returns the buckets that me renews and takes, and the numbers of those it
// has too much of, which is never nil. With n replicas everyone is due 16/n buckets,
// and the first 16%n to ask one more. A replica with an open breaker is due none
// while another's is closed. A bucket that needs a key belongs to a replica that has
// it, beside the fair shares: to one whose breaker is open if no other can open its
// rows.
func Share(me Replica, buckets []Bucket, living []Replica) (want []Bucket, excess []int) {
	excess = []int{}
	all, equals := candidates(me, living)
	fit := has(equals, me.ID)
	var common []Bucket
	for _, b := range buckets {
		openers := having(b.Key, equals)
		if openers == nil {
			openers = having(b.Key, all)
		}
		mine := b.Holder == me.ID
		switch {
		case openers != nil:
			if keeps := slices.Contains(openers, me.ID); !keeps && mine {
				want, excess = append(want, b), append(excess, b.Number)
			} else if keeps && (b.Free || mine) {
				want = append(want, b)
			}
		case fit:
			common = append(common, b)
		case mine:
			want, excess = append(want, b), append(excess, b.Number)
		}
	}
	if !fit {
		return want, excess
	}
	ours, surplus := fair(me.ID, common, equals)
	return append(want, ours...), append(excess, surplus...)
}

// Due is how many buckets me has at least, of those that need no key.
func Due(me Replica, buckets []Bucket, living []Replica) int {
	_, equals := candidates(me, living)
	if !has(equals, me.ID) {
		return 0
	}
	common := 0
	for _, b := range buckets {
		if b.Key == "" {
			common++
		}
	}
	return common / len(equals)
}

func has(among []Replica, id string) bool {
	return slices.ContainsFunc(among, func(r Replica) bool { return r.ID == id })
}

// having returns the replicas that have a key, nil when it is "".
func having(key string, among []Replica) (ids []string) {
	for _, r := range among {
		if key != "" && slices.Contains(r.Keys, key) {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// candidates returns all replicas, and those that should hold leases, me among
// them or not: those whose breaker is closed, or all when none is.
func candidates(me Replica, living []Replica) (all, equals []Replica) {
	all = []Replica{me}
	for _, r := range living {
		if r.ID != me.ID {
			all = append(all, r)
		}
	}
	for _, r := range all {
		if !r.Open {
			equals = append(equals, r)
		}
	}
	if equals == nil {
		return all, all
	}
	return all, equals
}

// fair is Share among equals: me is one of them.
func fair(me string, buckets []Bucket, equals []Replica) (want []Bucket, excess []int) {
	count := map[string]int{}
	for _, r := range equals {
		count[r.ID] = 0
	}
	var free []Bucket
	for _, b := range buckets {
		mine := b.Holder == me // also when it expired and nobody took it
		switch {
		case mine:
			want = append(want, b)
		case b.Free:
			free = append(free, b)
		}
		if _, ok := count[b.Holder]; ok && (!b.Free || mine) {
			count[b.Holder]++
		}
	}
	due, extra := len(buckets)/len(count), len(buckets)%len(count)
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
		excess = append(excess, want[mine].Number)
	}
	return want, excess
}
