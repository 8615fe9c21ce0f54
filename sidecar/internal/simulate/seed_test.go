package simulate

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seedCount   = flag.Int("seeds", 20, "how many worlds TestSeeds lets live")
	firstSeed   = flag.Uint64("seed", 0, "the first of them; 0 for a fresh one")
	goOnFor     = flag.Duration("for", 0, "go on with further seeds for so long, whatever -seeds says")
	stopAtFirst = flag.Bool("first", false, "stop at the first seed that fails")
	again       = flag.Int("again", 3, "how often a seed that failed is tried again")
	everything  = flag.Bool("everything", false, "print the whole timeline of a seed that fails")
	lastLines   = flag.Int("lines", 150, "how many lines of it at most else")
)

// result is what became of a world.
type result struct {
	plan       plan
	violations []violation
	text       string
	webhooks   int
	held       int
	again      int
	states     map[uint64]struct{}
	statements int
	lived      time.Duration
}

// aftermath is longer than anything of a replica lives on after its end: who waits
// to record a late answer looks every few seconds whether it is over.
const aftermath = time.Minute

// live lets one world live.
func live(t *testing.T, seed uint64) *result {
	var r *result
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, newPlan(seed))
		w.run()
		<-time.After(aftermath)
		l := w.ledger
		r = &result{plan: w.plan, violations: l.violations, webhooks: len(l.hooks), held: l.held, again: l.again,
			states: w.db.states, statements: w.db.statements, lived: time.Since(w.line.began)}
		if len(l.violations) > 0 {
			r.text = w.line.about(l.keys(), *lastLines, *everything)
		}
	})
	return r
}

// TestSeeds lets worlds live and holds the promise against each.
func TestSeeds(t *testing.T) {
	seed := *firstSeed
	if seed == 0 {
		seed = rand.Uint64N(1_000_000_000)
	}
	began := time.Now()
	var sum tally
	var next atomic.Uint64
	more := func() (uint64, bool) {
		n := next.Add(1) - 1
		if *goOnFor > 0 {
			return seed + n, time.Since(began) < *goOnFor && (!*stopAtFirst || sum.failures() == 0)
		}
		return seed + n, n < uint64(*seedCount) && (!*stopAtFirst || sum.failures() == 0)
	}
	t.Run("worlds", func(t *testing.T) {
		for i := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				for s, ok := more(); ok; s, ok = more() {
					try(t, s, &sum)
				}
			})
		}
	})
	t.Logf("seeds from %d: %s", seed, sum.report(time.Since(began)))
}

// try lets a seed's world live, and again when the promise was broken in it.
func try(t *testing.T, seed uint64, sum *tally) {
	r := live(t, seed)
	sum.add(r)
	if len(r.violations) == 0 {
		return
	}
	failed := 0
	for range *again {
		if len(live(t, seed).violations) > 0 {
			failed++
		}
	}
	t.Errorf("%v\n%s\nIt failed again %d times of %d. Run it alone: go test ./sidecar/internal/simulate -run TestSeeds -seeds 1 -seed %d",
		r, r.text, failed, *again, seed)
}

func (r *result) String() string {
	text := r.plan.String()
	for i, v := range r.violations {
		if i == 5 {
			return text + fmt.Sprintf("\n  and %d more", len(r.violations)-i)
		}
		text += fmt.Sprintf("\n  %s %s", v.key, v.text)
	}
	return text
}

// tally sums up worlds.
type tally struct {
	mu                                              sync.Mutex
	worlds, webhooks, held, again, statements, fail int
	states                                          map[uint64]struct{}
	lived                                           time.Duration
}

func (s *tally) add(r *result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states == nil {
		s.states = map[uint64]struct{}{}
	}
	s.worlds++
	s.webhooks += r.webhooks
	s.held += r.held
	s.again += r.again
	s.statements += r.statements
	s.lived += r.lived
	for k := range r.states {
		s.states[k] = struct{}{}
	}
	if len(r.violations) > 0 {
		s.fail++
	}
}

func (s *tally) failures() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fail
}

func (s *tally) report(took time.Duration) string {
	minute := func(n int) int { return int(float64(n) / took.Minutes()) }
	return fmt.Sprintf("%d worlds (%d failed) lived %v in %v: %d webhooks (%d a minute), %d held, %d delivered again, %d statements, %d states of the queue (%d a minute)",
		s.worlds, s.fail, s.lived.Round(time.Second), took.Round(time.Second), s.webhooks, minute(s.webhooks), s.held, s.again,
		s.statements, len(s.states), minute(len(s.states)))
}
