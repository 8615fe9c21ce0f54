package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/infra/testkit"
)

// One failure of the app closes the lane until the webhook is delivered, and
// many senders see neither a gap nor a change of order.
func TestOneFailureKeepsOrder(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]behaviour{"503": always(503), "502": always(502), "504": always(504), "reset": reset} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, a := newDatabase(t), runningApp(t)
			s := passing(t, db, a)
			var count atomic.Int64
			a.does(func(w http.ResponseWriter, r *http.Request, d delivery) int {
				if count.Add(1)%17 == 0 {
					return fail(w, r, d)
				}
				return 200
			})
			l := newLedger()
			var sending sync.WaitGroup
			for i := range 6 {
				// Two senders share a lane, so that one's failure meets the
				// other's forwards.
				sending.Go(func() { l.send(s, fmt.Sprint("/hooks/", i), fmt.Sprint("lane", i/2, "sender", i%2), upTo(60)) })
			}
			sending.Wait()
			if l.held == 0 {
				t.Error("nothing was held: the test proves nothing")
			}
			if duplicates := l.check(t, a); duplicates > 0 {
				t.Errorf("%d came twice", duplicates)
			}
			if l.total() != 6*60 {
				t.Errorf("%d acknowledged, want all of %d", l.total(), 6*60)
			}
			s.waitState("passing")
		})
	}
}

// Senders that share one lane, without keys: each sender's own order holds.
func TestManySendersInOneLane(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"LANES": ""})
	var over atomic.Bool
	l := newLedger()
	var sending sync.WaitGroup
	for i := range 8 {
		sending.Go(func() { l.send(s, "/hooks/x", fmt.Sprint("sender", i), func(int) bool { return !over.Load() }) })
	}
	for range 6 { // the app goes and comes, under load
		n := len(a.accepted())
		testkit.Eventually(t, "some pass", func() bool { return len(a.accepted()) > n+30 })
		a.stop()
		held := db.active()
		testkit.Eventually(t, "some are held", func() bool { return db.active() > held+10 })
		a.start()
	}
	over.Store(true)
	sending.Wait()
	duplicates := l.check(t, a)
	t.Logf("%d acknowledged, %d of them held, %d duplicates", l.total(), l.held, duplicates)
	s.waitState("passing")
}

// A 5xx is tried again at the head of its lane, with backoff and Retry-After. A 4xx,
// or too many attempts, makes a dead letter, and the lane goes on.
func TestFailuresOnReplay(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"REPLAY_MAX_ATTEMPTS": "4", "REPLAY_MIN_BACKOFF": "100ms", "REPLAY_MAX_BACKOFF": "3s"})
	a.stop()
	const busy, bad, gone, hopeless, redirect = 1, 3, 5, 7, 9
	for n := range 11 {
		s.mustHold("/hooks/x", numbered("a", n))
	}
	s.mustHold("/hooks/x", numbered("other", 0))
	var retriedAfter time.Time
	a.does(func(w http.ResponseWriter, _ *http.Request, d delivery) int {
		lane, n := d.number()
		switch {
		case lane != "a":
			return 200
		case n == busy && d.attempt == "1":
			return 500
		case n == busy && d.attempt == "2":
			retriedAfter = d.at
			w.Header().Set("Retry-After", "1")
			return 429
		case n == bad:
			return 400
		case n == gone:
			return 410
		case n == hopeless:
			return 500
		case n == redirect:
			w.Header().Set("Location", "/hooks/elsewhere")
			return 302
		}
		return 200
	})
	a.start()
	testkit.Eventually(t, "the queue is empty", func() bool { return db.active() == 0 })
	var order []string
	for _, d := range a.deliveries() {
		if lane, n := d.number(); lane == "a" {
			order = append(order, fmt.Sprintf("%d.%s", n, d.attempt))
		}
		if _, n := d.number(); n == busy && d.attempt == "3" && d.at.Sub(retriedAfter) < 900*time.Millisecond {
			t.Errorf("tried again after %v, Retry-After said 1 s", d.at.Sub(retriedAfter))
		}
	}
	if got, want := strings.Join(order, " "), "0.1 1.1 1.2 1.3 2.1 3.1 4.1 5.1 6.1 7.1 7.2 7.3 7.4 8.1 9.1 10.1"; got != want {
		t.Errorf("tries were\n%s, want\n%s", got, want)
	}
	failed := db.texts(t, `SELECT convert_from(body, 'UTF8') || ' ' || attempts || ' ' || COALESCE(last_error, '') FROM webhook_queue WHERE status = 'failed' ORDER BY id`)
	for i, want := range []string{`"n":3} 1 app answered 400`, `"n":5} 1 app answered 410`, `"n":7} 4 gave up after 4 attempts: app answered 500`, `"n":9} 1 app answered 302`} {
		if len(failed) != 4 || !strings.HasSuffix(failed[i], want) {
			t.Errorf("failed rows are %q, want one that ends in %q", failed, want)
		}
	}
}

// While the app's probe fails no attempt is made, and none is counted, however
// long that takes.
func TestNoAttemptsWhileUnhealthy(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"REPLAY_MAX_ATTEMPTS": "2", "REPLAY_MIN_BACKOFF": "8s", "REPLAY_MAX_BACKOFF": "9s"})
	a.stop()
	s.mustHold("/hooks/x", "{}")
	a.health.Store(503)
	a.start()
	throughout(t, time.Second, "nothing is delivered", func() bool { return len(a.deliveries()) == 0 })
	s.mustHold("/hooks/x", "{}")
	// Healthy only for moments, and gone at each attempt.
	a.does(func(w http.ResponseWriter, r *http.Request, d delivery) int {
		a.health.Store(503)
		return reset(w, r, d)
	})
	a.health.Store(200)
	a.waitDeliveries(1)
	testkit.Eventually(t, "the app is found away", func() bool { return s.status().State == "holding" })
	a.does(always(200))
	a.health.Store(200)
	got := a.waitAccepted(2)
	if got[0].attempt != "2" || got[1].attempt != "1" {
		t.Errorf("attempts are %s and %s, want 2 and 1", got[0].attempt, got[1].attempt)
	}
}

// An app is up and refuses every webhook for a while: they are held, tried again,
// and delivered in order once it accepts them.
func TestAppThatOnlySays503(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"REPLAY_MAX_ATTEMPTS": "2", "REPLAY_MAX_BACKOFF": "100ms"})
	a.does(always(503))
	l := newLedger()
	var sending sync.WaitGroup
	for i := range 4 {
		sending.Go(func() { l.send(s, "/hooks/x", fmt.Sprint("lane", i), upTo(10)) })
	}
	sending.Wait()
	if l.held != 40 {
		t.Errorf("%d held, want 40", l.held)
	}
	testkit.Eventually(t, "each lane is tried more often than REPLAY_MAX_ATTEMPTS", func() bool {
		tries := map[string]int{}
		for _, d := range a.deliveries() {
			if lane, n := d.number(); n == 0 {
				tries[lane]++
			}
		}
		return len(tries) == 4 && min(tries["lane0"], tries["lane1"], tries["lane2"], tries["lane3"]) > 5
	})
	a.does(always(200))
	if duplicates := l.check(t, a); duplicates > 0 {
		t.Errorf("%d came twice", duplicates)
	}
	testkit.Eventually(t, "the lanes open", func() bool { return s.status().ShutLanes == 0 })
	s.mustPass("/hooks/x", numbered("lane0", 10))
	// The app was sent the first of each lane before it was held.
	for _, d := range a.deliveries() {
		if _, n := d.number(); n == 0 && d.replayed == "true" && d.attempt == "1" {
			t.Errorf("a replay of what the app had seen calls itself attempt 1")
			break
		}
	}
}
