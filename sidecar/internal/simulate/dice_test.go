package simulate

import (
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// dice are the randomness of one entity. Each entity has its own, so that what
// one does, or when the scheduler lets it, changes nothing for the others: a
// seed reproduces although goroutines do not run in the same order twice.
type dice struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func newDice(seed uint64, entity string) *dice {
	h := fnv.New64a()
	_, _ = h.Write([]byte(entity)) // never fails
	return &dice{rng: rand.New(rand.NewPCG(seed, h.Sum64()))}
}

func (d *dice) chance(p float64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.Float64() < p
}

// below returns a number in [0, n).
func (d *dice) below(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n)
}

// between returns a duration of uneven nanoseconds, so that hardly ever two
// things happen at one instant, where the scheduler would decide which is first.
func (d *dice) between(lo, hi time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return lo + time.Duration(d.rng.Int64N(int64(hi-lo)+1))
}

// rate returns 0 half of the time and else something up to hi: a world in which
// every fault is likely shows less than many worlds with a few faults each.
func (d *dice) rate(hi float64) float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rng.IntN(2) == 0 {
		return 0
	}
	return hi * d.rng.Float64()
}

// sleep waits in the bubble's time.
func sleep(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}
