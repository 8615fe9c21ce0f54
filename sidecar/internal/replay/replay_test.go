package replay_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/metrics"
	"sluice/sidecar/internal/replay"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/internal/webhook"
)

// world is one replica's gate and replay between a cruel store and an app that
// comes and goes, with one sender a lane, in the time of a bubble.
type world struct {
	t       *testing.T
	mu      sync.Mutex
	rng     *rand.Rand
	store   *store
	gate    *gate.Gate
	replay  *replay.Replay
	up      bool
	healthy atomic.Bool
	fussy   bool // the app fails now and then

	acknowledged map[string]map[int]bool
	taken        map[string][]int // by lane, first arrivals in order
	seen         map[string]bool
	busy         map[string]bool // lanes of which replay has something at the app
	refused      map[string]bool
	again        int
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), store: &store{rng: rand.New(rand.NewPCG(seed, 2)), faults: 0.05},
		acknowledged: map[string]map[int]bool{}, taken: map[string][]int{}, seen: map[string]bool{}, busy: map[string]bool{}, refused: map[string]bool{},
	}
	w.gate = gate.New(gate.Config{CatchupLimit: time.Hour, Changed: func(_, _ lifecycle.State) {
		if w.replay != nil {
			w.replay.Kick()
		}
	}})
	w.replay = replay.New(replay.Deps{
		Config: replay.Config{Concurrency: 3, BlindAfter: time.Hour, BreakerLimit: time.Hour}, Store: w.store, Gate: w.gate, App: w,
		Healthy: w.healthy.Load, AppDown: w.appDown, Metrics: metrics.New(), Log: slog.New(slog.DiscardHandler),
	})
	return w
}

func (w *world) chance(p float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.Float64() < p
}

func (w *world) upTo(d time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(w.rng.Int64N(int64(d)))
}

func (w *world) isUp() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.up
}

func (w *world) set(up, fussy bool) {
	w.mu.Lock()
	w.up, w.fussy = up, fussy
	w.mu.Unlock()
}

func (w *world) appDown(error) {
	w.healthy.Store(false)
	w.gate.Fire(lifecycle.AppDown)
}

// arrives is a webhook that the app takes.
func (w *world) arrives(lane string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := fmt.Sprint(lane, "/", n)
	if w.seen[key] {
		w.again++
		return
	}
	w.seen[key] = true
	w.taken[lane] = append(w.taken[lane], n)
}

// Deliver plays upstream for replay, by its rules.
func (w *world) Deliver(ctx context.Context, hook *webhook.Webhook, attempt int, p upstream.Policy) upstream.Result {
	lane, n := hook.Lane, hook.Attempts
	w.mu.Lock()
	if w.busy[lane] {
		w.t.Errorf("two deliveries of lane %s at a time", lane)
	}
	w.busy[lane] = true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.busy[lane] = false
		w.mu.Unlock()
	}()
	away := upstream.Result{Outcome: upstream.Away, Attempt: attempt - 1, Reason: "away"}
	for {
		if !p.Healthy() {
			return away
		}
		done, err := p.Turn(ctx, attempt)
		if err != nil {
			return away
		}
		posted := time.Now().Before(p.Until())
		<-time.After(w.upTo(5 * time.Millisecond))
		done()
		switch {
		case !posted || !time.Now().Before(p.Until()):
			return away
		case !w.isUp():
			return upstream.Result{Outcome: upstream.Away, Attempt: attempt - 1, Reason: "away", Refuses: true}
		case w.isFussy() && w.chance(0.1): // taken, but the answer is lost
			w.arrives(lane, n)
			return upstream.Result{Outcome: upstream.Away, Attempt: attempt, Reason: "reset"}
		case w.isFussy() && w.chance(0.1):
			p.Waiting(attempt, "app answered 500")
			attempt++
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return away
			}
			continue
		case w.isFussy() && w.chance(0.02):
			w.mu.Lock()
			w.refused[fmt.Sprint(lane, "/", n)] = true
			w.mu.Unlock()
			return upstream.Result{Outcome: upstream.Refused, Attempt: attempt, Reason: "app answered 400"}
		}
		w.arrives(lane, n)
		return upstream.Result{Outcome: upstream.Delivered, Attempt: attempt}
	}
}

func (w *world) isFussy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fussy
}

// probe plays supervise.
func (w *world) probe(ctx context.Context) {
	for {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return
		}
		if w.isUp() {
			w.healthy.Store(true)
			w.gate.Fire(lifecycle.AppUp)
		} else {
			w.appDown(nil)
		}
	}
}

// send plays ingress and one sender of a lane, who sends the next webhook when
// the last one was answered.
func (w *world) send(lane string, count int) {
	for n := range count {
		<-time.After(w.upTo(40 * time.Millisecond))
		if w.receive(lane, n) {
			w.mu.Lock()
			if w.acknowledged[lane] == nil {
				w.acknowledged[lane] = map[int]bool{}
			}
			w.acknowledged[lane][n] = true
			w.mu.Unlock()
		}
	}
}

func (w *world) receive(lane string, n int) (acknowledged bool) {
	for patience := time.Now().Add(500 * time.Millisecond); ; {
		verdict, opened := w.gate.Enter(lane, time.Now().Before(patience))
		switch verdict {
		case gate.Refuse:
			return false
		case gate.Wait:
			select {
			case <-opened:
			case <-time.After(time.Until(patience)):
			}
			continue
		case gate.Forward:
			<-time.After(w.upTo(5 * time.Millisecond))
			if w.isUp() && !(w.isFussy() && w.chance(0.05)) {
				w.arrives(lane, n)
				w.gate.Leave()
				return true
			}
			if !w.isUp() {
				w.appDown(nil)
			}
			w.gate.Divert(lane)
		case gate.Hold:
		}
		if w.store.append(lane, n) != nil {
			w.gate.Dropped(lane)
			return false
		}
		kept := w.gate.Kept(lane)
		w.replay.Kick()
		return kept
	}
}

// trouble makes what can go wrong go wrong, until ctx ends.
func (w *world) trouble(ctx context.Context) {
	for ctx.Err() == nil {
		switch int(w.upTo(6)) {
		case 0, 1:
			w.set(false, true)
			<-time.After(w.upTo(2 * time.Second))
			w.set(true, true)
		case 2:
			w.store.operator()
		case 3:
			w.takeover()
		default:
			w.replay.Kick()
		}
		<-time.After(w.upTo(3 * time.Second))
	}
}

// takeover cuts this replica off until its leases have lapsed, and lets another
// one deliver what is there of some lanes.
func (w *world) takeover() {
	s := w.store
	s.mu.Lock()
	s.cut = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.cut, s.theirs = false, [16]bool{}
		s.mu.Unlock()
	}()
	<-time.After(2 * time.Second)
	s.mu.Lock()
	lapsed := s.last.Add(15 * time.Second)
	s.mu.Unlock()
	<-time.After(time.Until(lapsed))
	s.mu.Lock()
	for b := range s.theirs {
		s.theirs[b] = true
		s.epochs[b]++
	}
	theirs := make([]*row, 0, len(s.rows))
	for _, r := range s.rows {
		if r.active() {
			r.status, r.epoch = "processing", s.epochs[bucketOf(r.lane)]
			theirs = append(theirs, r)
		}
	}
	s.mu.Unlock()
	for i, r := range theirs {
		<-time.After(w.upTo(5 * time.Millisecond))
		s.mu.Lock()
		if i%5 == 4 { // it dies in the middle
			for _, rest := range theirs[i:] {
				if rest.active() {
					rest.status = "pending"
				}
			}
			s.mu.Unlock()
			break
		}
		done := !r.active() // completed meanwhile, by a fact that came late
		s.mu.Unlock()
		if done {
			continue
		}
		w.arrives(r.lane, r.n)
		s.mu.Lock()
		r.status = "completed"
		s.mu.Unlock()
	}
	s.mu.Lock()
	for b := range s.epochs {
		s.epochs[b]++
	}
	s.mu.Unlock()
}

// check holds the promise against what happened.
func (w *world) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for lane, ns := range w.acknowledged {
		for n := range ns {
			if key := fmt.Sprint(lane, "/", n); !w.seen[key] && !w.refused[key] {
				w.t.Errorf("LOST: %s", key)
			}
		}
		last := -1
		for _, n := range w.taken[lane] {
			// What the app has refused once has lost its place: the refusal may
			// not have been recorded before another replica took the row.
			if n < last && ns[n] && !w.refused[fmt.Sprint(lane, "/", n)] {
				w.t.Errorf("OUT OF ORDER: lane %s: %d after %d", lane, n, last)
			}
			last = max(last, n)
		}
	}
}

// seedCount is how many worlds are tried; -replay.seeds=2000 looks longer.
var seedCount = flag.Uint64("replay.seeds", 15, "how many worlds TestOrderAndDeliveryUnderTrouble tries")

// A lane's order and every acknowledged webhook survive whatever the database,
// the app, the operator and another replica do.
func TestOrderAndDeliveryUnderTrouble(t *testing.T) {
	for seed := range *seedCount {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, seed)
				ctx, end := context.WithCancel(t.Context())
				troubled, calm := context.WithCancel(ctx)
				var all, sending sync.WaitGroup
				all.Go(func() { w.replay.Run(ctx) })
				all.Go(func() { w.probe(ctx) })
				w.set(true, true)
				var troubling sync.WaitGroup
				troubling.Go(func() { w.trouble(troubled) })
				for i := range 4 {
					sending.Go(func() { w.send(fmt.Sprint("lane", i), 600) })
				}
				sending.Wait()
				calm()
				troubling.Wait()
				w.set(true, false)
				w.store.mu.Lock()
				w.store.faults = 0
				w.store.mu.Unlock()
				for range 6000 {
					if w.store.active() == 0 && w.gate.State() == lifecycle.Passing && w.gate.Counts().Shut == 0 {
						break
					}
					<-time.After(20 * time.Millisecond)
				}
				if n, state := w.store.active(), w.gate.State(); n > 0 || state != lifecycle.Passing {
					t.Errorf("%d rows are left, state is %v", n, state)
				}
				if shut := w.gate.Counts(); shut.Shut > 0 || shut.InFlight > 0 || shut.Holds > 0 {
					t.Errorf("the gate is left as %+v", shut)
				}
				end()
				all.Wait()
				w.check()
				if seed == 0 {
					t.Logf("%d rows held, %d arrived again", len(w.store.rows), w.again)
				}
			})
		})
	}
}
