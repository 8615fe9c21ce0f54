package gate

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sidecar/internal/lifecycle"
)

// look answers the gate's question from a map, as the buffer would.
func look(g *Gate, held map[string]int) {
	k, ok := g.Look(many, true)
	if k.All {
		g.Found(held)
		g.Surveyed(k)
		k, ok = g.Look(many, true)
	}
	if ok {
		g.Apply(k, held, many, time.Now())
	}
}

const many = 1000

func enter(t *testing.T, g *Gate, lane string, want Verdict) {
	t.Helper()
	if got, _ := g.Enter(lane, false); got != want {
		t.Fatalf("Enter(%q) in %v = %d, want %d", lane, g.State(), got, want)
	}
}

func TestVerdictOfEveryState(t *testing.T) {
	want := map[lifecycle.State]Verdict{
		lifecycle.Starting: Hold, lifecycle.Replaying: Hold, lifecycle.Passing: Forward,
		lifecycle.Holding: Hold, lifecycle.Paused: Hold, lifecycle.Draining: Hold, lifecycle.Stopped: Refuse,
	}
	for s, verdict := range want {
		g := New(Config{})
		g.state, g.looked = s, s == lifecycle.Passing
		enter(t, g, "github", verdict)
	}
}

func TestALaneOpensAlone(t *testing.T) {
	g := New(Config{})
	g.Fire(lifecycle.AppUp)
	enter(t, g, "github", Hold) // nobody has looked yet
	g.Kept("github")
	held := map[string]int{"github": 1, "slack": 3}
	look(g, held)
	enter(t, g, "stripe", Forward)
	g.Leave()
	enter(t, g, "slack", Hold)
	g.Dropped("slack")
	delete(held, "github")
	look(g, held)
	enter(t, g, "github", Forward)
	g.Leave()
	if g.State() != lifecycle.Replaying {
		t.Fatalf("state %v with slack still held, want replaying", g.State())
	}
	look(g, nil)
	if g.State() != lifecycle.Passing {
		t.Fatalf("state %v with nothing held, want passing", g.State())
	}
}

func TestAFailedForwardShutsItsLaneOnly(t *testing.T) {
	g := passing(t, Config{})
	enter(t, g, "github", Forward)
	g.Divert("github")
	enter(t, g, "github", Hold)
	enter(t, g, "slack", Forward)
	if c := g.Counts(); c.InFlight != 1 || c.Holds != 2 || c.Shut != 1 {
		t.Fatalf("counts %+v, want 1 in flight, 2 holds, 1 shut", c)
	}
}

func TestAStaleLookOpensNothing(t *testing.T) {
	g := passing(t, Config{})
	enter(t, g, "a", Forward)
	g.Divert("a")
	g.Kept("a")
	k, _ := g.Look(many, true)
	enter(t, g, "a", Hold) // begun after the look, so the answer can't know of it
	g.Kept("a")
	g.Apply(k, nil, many, time.Now())
	enter(t, g, "a", Hold)
}

func TestALookDuringAnAppendOpensNothing(t *testing.T) {
	g := passing(t, Config{})
	enter(t, g, "a", Forward)
	g.Divert("a")
	k, _ := g.Look(many, true)
	g.Kept("a")
	g.Apply(k, nil, many, time.Now()) // it committed after the buffer answered
	enter(t, g, "a", Hold)
}

func TestCatchUpLimitOpensALaneThatDoesNotShrink(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct {
		name   string
		order  Order
		limit  int
		second int
		want   int
	}{
		{"no progress", PerLane, many, 5, 1},
		{"progress", PerLane, many, 4, 0},
		{"count cut off", PerLane, 4, 5, 0},
		{"strict", Strict, many, 5, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := New(Config{Order: tc.order, CatchupLimit: time.Minute})
			g.Seal(false, time.Now().Add(time.Hour))
			g.Fire(lifecycle.AppUp)
			look(g, map[string]int{"a": 5})
			apply := func(n int, after time.Duration) []string {
				k, _ := g.Look(many, true)
				return g.Apply(k, map[string]int{"a": n}, tc.limit, now.Add(after))
			}
			apply(5, 0)
			apply(tc.second, 59*time.Second)
			forced := apply(tc.second, 61*time.Second)
			if len(forced) != tc.want {
				t.Fatalf("forced %v, want %d lanes", forced, tc.want)
			}
		})
	}
}

func TestTheLastRowsAreWaitedFor(t *testing.T) {
	g := passing(t, Config{})
	enter(t, g, "a", Forward)
	g.Divert("a")
	g.Kept("a")
	v, opened := g.Enter("a", true)
	if v != Wait {
		t.Fatalf("verdict %d with one row left, want Wait", v)
	}
	look(g, nil)
	select {
	case <-opened:
	default:
		t.Fatal("the waiter was not woken when the lane opened")
	}
	enter(t, g, "a", Forward)
}

func TestAManyRowedLaneIsNotWaitedFor(t *testing.T) {
	g := passing(t, Config{})
	enter(t, g, "a", Forward)
	g.Divert("a")
	g.Kept("a")
	look(g, map[string]int{"a": 500})
	if v, _ := g.Enter("a", true); v != Hold {
		t.Fatalf("verdict %d with 500 rows left, want Hold", v)
	}
}

func TestBlindPassesOnlyLanesOfUnknownBacklog(t *testing.T) {
	g := New(Config{})
	enter(t, g, "mine", Hold)
	g.Kept("mine")
	g.Fire(lifecycle.AppUp)
	g.Blind(true)
	enter(t, g, "other", Forward)
	enter(t, g, "mine", Hold)
}

func TestStrictRefusesWithoutAPermitAndQueuesBesideAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Order: Strict})
		enter(t, g, "a", Refuse)
		g.Seal(true, time.Now().Add(2*time.Second))
		g.Fire(lifecycle.AppUp)
		look(g, nil)
		enter(t, g, "a", Hold)
		<-time.After(3 * time.Second) // synctest's clock, not the wall's
		if g.Kept("a") {
			t.Fatal("acknowledged after the permit had run out")
		}
		g.Seal(false, time.Now().Add(2*time.Second))
		enter(t, g, "a", Hold) // the other one's rows are not looked for yet
		g.Kept("a")
		look(g, nil)
		enter(t, g, "a", Forward)
	})
}

// TestNoWebhookIsStranded races holds, forwards and deliveries of a few lanes
// against looks and against the app's going up and down, and checks at every
// forward that nothing acknowledged before it is still held in its lane.
func TestNoWebhookIsStranded(t *testing.T) {
	const lanes, workers, each = 4, 16, 3000
	g := New(Config{})
	q := newQueue()
	names := [lanes]string{"a", "b", "c", "d"}
	var stop atomic.Bool
	var loops, senders sync.WaitGroup
	loops.Add(2)
	go func() { // replay and looks
		defer loops.Done()
		for !stop.Load() {
			k, ok := g.Look(1+rand.IntN(lanes), true)
			if !ok {
				g.Fire(lifecycle.AppUp)
				continue
			}
			if g.State().Replays() {
				q.deliver(names[rand.IntN(lanes)])
			}
			if k.All {
				g.Found(q.count())
				g.Surveyed(k)
				continue
			}
			g.Apply(k, q.count(), many, time.Now())
		}
	}()
	go func() { // the app comes and goes
		defer loops.Done()
		for !stop.Load() {
			g.Fire(lifecycle.AppDown)
			g.Fire(lifecycle.AppUp)
			for i := 0; i < 200 && g.State() != lifecycle.Passing && !stop.Load(); i++ {
				q.deliver(names[i%lanes])
			}
		}
	}()
	for range workers {
		senders.Go(func() {
			for range each {
				lane := names[rand.IntN(lanes)]
				before := q.lastAcked(lane)
				switch v, _ := g.Enter(lane, false); v {
				case Forward:
					if got := q.delivered(lane); got < before {
						t.Errorf("lane %s: forwarded past webhook %d, which was acknowledged and is held (%d delivered)", lane, before, got)
					}
					if rand.IntN(50) == 0 {
						g.Divert(lane)
						q.hold(g, lane)
					} else {
						g.Leave()
					}
				case Hold:
					q.hold(g, lane)
				case Refuse, Wait:
					t.Errorf("lane %s: verdict %v", lane, v)
				}
			}
		})
	}
	senders.Wait()
	stop.Store(true)
	loops.Wait()

	g.Fire(lifecycle.AppUp)
	// The state may be passing with lanes shut, by webhooks that were diverted
	// last: what is held then is in those lanes.
	for i := 0; g.State() != lifecycle.Passing || g.Counts().Shut > 0; i++ {
		for _, l := range names {
			q.deliver(l)
		}
		look(g, q.count())
		if i > 100_000 {
			t.Fatalf("never passing: %+v, held %v", g.Counts(), q.count())
		}
	}
	if c := g.Counts(); c.InFlight != 0 || c.Holds != 0 {
		t.Errorf("counts after the race %+v, want none in flight", c)
	}
	if left := q.count(); len(left) != 0 {
		t.Errorf("every lane is open with webhooks still held: %v", left)
	}
}

// queue stands for the table: webhooks of a lane are numbered from 1 and leave
// in that order.
type queue struct {
	mu                    sync.Mutex
	stored, acked, gotten map[string]int
}

func newQueue() *queue {
	return &queue{stored: map[string]int{}, acked: map[string]int{}, gotten: map[string]int{}}
}

// hold stores one webhook and acknowledges it, as ingress does.
func (q *queue) hold(g *Gate, lane string) {
	q.mu.Lock()
	q.stored[lane]++
	n := q.stored[lane]
	q.mu.Unlock()
	g.Kept(lane)
	q.mu.Lock()
	q.acked[lane] = max(q.acked[lane], n)
	q.mu.Unlock()
}

func (q *queue) deliver(lane string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gotten[lane] < q.stored[lane] {
		q.gotten[lane]++
	}
}

// lastAcked returns the number of the newest acknowledged webhook of the lane,
// delivered how many have been.
func (q *queue) lastAcked(lane string) int { return q.read(q.acked, lane) }
func (q *queue) delivered(lane string) int { return q.read(q.gotten, lane) }

func (q *queue) read(m map[string]int, lane string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return m[lane]
}

// count answers a look.
func (q *queue) count() map[string]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := map[string]int{}
	for lane, n := range q.stored {
		if left := n - q.gotten[lane]; left > 0 {
			c[lane] = left
		}
	}
	return c
}

func passing(t *testing.T, cfg Config) *Gate {
	t.Helper()
	g := New(cfg)
	g.Fire(lifecycle.AppUp)
	look(g, nil)
	if g.State() != lifecycle.Passing {
		t.Fatalf("state %v, want passing", g.State())
	}
	return g
}

// A look over all lanes that was begun before something that makes it void
// proves nothing, whatever else happens before it is applied.
func TestALookThatBecameVoidOpensNothing(t *testing.T) {
	later := func() time.Time { return time.Now().Add(time.Hour) }
	for name, c := range map[string]struct {
		order Order
		set   func(*Gate) // before the look
		void  func(*Gate) // during it
	}{
		"the app went and came": {PerLane, func(*Gate) {}, func(g *Gate) {
			g.Fire(lifecycle.AppDown)
			g.Fire(lifecycle.AppUp)
		}},
		"the other replica has left": {Strict, func(g *Gate) { g.Seal(true, later()) }, func(g *Gate) {
			g.Seal(false, later())
		}},
		"another replica came and left": {Strict, func(g *Gate) { g.Seal(false, later()) }, func(g *Gate) {
			g.Seal(true, later())
			g.Seal(false, later())
		}},
		"others may have come and left unseen": {Strict, func(g *Gate) { g.Seal(false, later()) }, func(g *Gate) {
			g.Seal(false, time.Time{})
			g.Seal(false, later())
		}},
		"the permit had run out": {Strict, func(g *Gate) { g.Seal(false, time.Now()) }, func(g *Gate) {
			g.Seal(false, later())
		}},
	} {
		t.Run(name, func(t *testing.T) {
			g := New(Config{Order: c.order})
			g.Fire(lifecycle.AppUp)
			c.set(g)
			k, ok := g.Look(many, true)
			if !ok || !k.All {
				t.Fatalf("the look is %+v, want one over all lanes", k)
			}
			g.Found(nil)
			c.void(g)
			g.Surveyed(k)
			if g.State() != lifecycle.Replaying {
				t.Errorf("state %v, want replaying", g.State())
			}
			enter(t, g, "a", Hold)
			g.Dropped("a")
			look(g, nil)
			enter(t, g, "a", Forward)
			if g.State() != lifecycle.Passing {
				t.Errorf("state %v after a look that counts, want passing", g.State())
			}
		})
	}
}

// Nor does a look at the shut lanes alone end the replay when every lane has to
// be looked at again.
func TestALookAtSomeLanesDoesNotEndTheReplay(t *testing.T) {
	g := New(Config{})
	g.Fire(lifecycle.AppUp)
	look(g, map[string]int{"a": 1})
	k, _ := g.Look(many, true)
	if k.All {
		t.Fatal("all lanes are looked at again")
	}
	g.Fire(lifecycle.AppDown)
	g.Fire(lifecycle.AppUp)
	g.Apply(k, nil, many, time.Now())
	if g.State() != lifecycle.Replaying {
		t.Errorf("state %v, want replaying", g.State())
	}
	enter(t, g, "b", Hold)
}

// A replica that may not acknowledge for a moment may have missed another one's
// whole life: it looks before it forwards again.
func TestStrictLooksAfterItsPermitRanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Order: Strict})
		g.Seal(false, time.Now().Add(2*time.Second))
		g.Fire(lifecycle.AppUp)
		look(g, nil)
		enter(t, g, "a", Forward)
		g.Seal(false, time.Now().Add(2*time.Second)) // in time: nothing can have happened
		enter(t, g, "a", Forward)
		<-time.After(2 * time.Second)
		enter(t, g, "a", Refuse)
		g.Seal(false, time.Now().Add(2*time.Second))
		enter(t, g, "a", Hold)
		g.Dropped("a")
		look(g, map[string]int{"b": 1})
		enter(t, g, "a", Forward)
		enter(t, g, "b", Hold)
	})
}
