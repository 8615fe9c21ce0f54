package share

import (
	"fmt"
	"slices"
	"testing"
)

const buckets = 16

// Whatever the leases look like, rounds of renewing and releasing settle on
// shares that differ by one at most, and no bucket is left free.
func TestShareSettles(t *testing.T) {
	for n := 1; n <= 20; n++ {
		for start := range 5 {
			able, peers := make([]string, n), make([]Replica, n)
			for i := range able {
				able[i] = fmt.Sprint("replica ", i)
				peers[i].ID = able[i]
			}
			leases := make([]Bucket, buckets)
			for b := range leases {
				leases[b] = Bucket{Number: b, Free: true}
				if i := (b * start * 7) % (n + 1); start > 0 && i < n { // the rest is free
					leases[b] = Bucket{Number: b, Holder: able[i%(1+n/start)%n]}
				}
			}
			quiet := 0
			for range 40 {
				quiet++
				for _, me := range able {
					want, excess := Share(Replica{ID: me}, leases, peers)
					for _, l := range want {
						if l.Free {
							quiet = 0
						}
						leases[l.Number] = Bucket{Number: l.Number, Holder: me}
					}
					for _, b := range excess {
						quiet = 0
						leases[b] = Bucket{Number: b, Free: true}
					}
				}
			}
			count := map[string]int{}
			for _, l := range leases {
				if l.Free {
					t.Errorf("%d replicas, start %d: bucket %d is free", n, start, l.Number)
				}
				count[l.Holder]++
			}
			low, high := buckets, 0
			for _, id := range able {
				low, high = min(low, count[id]), max(high, count[id])
			}
			if quiet == 0 || high-max(low, buckets/n) > 1 || low < buckets/n {
				t.Errorf("%d replicas, start %d: from %d to %d buckets, quiet %d", n, start, low, high, quiet)
			}
		}
	}
}

// A replica whose app refuses everything holds no lease beside one whose app does
// not, and a bucket that needs a key is held by whoever has it.
func TestShareByBreakerAndKey(t *testing.T) {
	const key = "key-id-1"
	a, b, c := Replica{ID: "a"}, Replica{ID: "b"}, Replica{ID: "c", Keys: []string{key}}
	for _, test := range []struct {
		name       string
		candidates []Replica
		locked     int // so many buckets need the key
		want       []int
	}{
		{"all closed", []Replica{a, b, c}, 0, []int{5, 5, 6}},
		{"one open", []Replica{{ID: a.ID, Open: true}, b, c}, 0, []int{0, 8, 8}},
		{"all open", []Replica{{ID: a.ID, Open: true}, {ID: b.ID, Open: true}}, 0, []int{8, 8}},
		{"all need the key", []Replica{a, b, c}, 16, []int{0, 0, 16}},
		{"some need the key", []Replica{a, b, c}, 4, []int{4, 4, 8}},
		{"nobody has the key", []Replica{a, b}, 16, []int{8, 8}},
		{"who has it is broken", []Replica{a, {ID: c.ID, Keys: c.Keys, Open: true}}, 16, []int{0, 16}},
	} {
		for _, start := range test.candidates {
			leases := make([]Bucket, buckets)
			for i := range leases { // one held all until now
				leases[i] = Bucket{Number: i, Holder: start.ID}
				if i < test.locked {
					leases[i].Key = key
				}
			}
			for range 10 {
				for _, me := range test.candidates {
					want, excess := Share(me, slices.Clone(leases), test.candidates)
					for _, l := range want {
						leases[l.Number].Holder, leases[l.Number].Free = me.ID, false
					}
					for _, n := range excess {
						leases[n].Holder, leases[n].Free = "", true
					}
				}
			}
			var got []int
			for _, c := range test.candidates {
				n := 0
				for _, l := range leases {
					if l.Holder == c.ID {
						n++
					}
				}
				got = append(got, n)
			}
			openable := slices.ContainsFunc(test.candidates, func(c Replica) bool { return slices.Contains(c.Keys, key) })
			for _, l := range leases[:test.locked] {
				if openable && l.Holder != c.ID {
					t.Errorf("%s: bucket %d is not with the one that can open its rows", test.name, l.Number)
				}
			}
			if slices.Sort(got); !slices.Equal(got, test.want) {
				t.Errorf("%s: %v buckets are held, want %v", test.name, got, test.want)
			}
		}
	}
}
