package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/infra/testkit"
)

// The insert of an awaited webhook commits and its answer is lost: its sender gets
// 503 and nobody waits for the app's answer. Its lane must not stay shut.
func TestLostAnswerOfAnAwaitedWebhook(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	m, url := muffled(t, db.url)
	behind := &database{url: url, pool: db.pool}
	s := passing(t, behind, a, env{"HOLD_TIMEOUT": "1s"})
	arrived, release := lateOnce(a)
	defer release()
	refused := make(chan answer)
	go func() { refused <- s.post("/hooks/late", numbered("a", 0)) }()
	<-arrived
	m.mute.Store(true)
	if got := <-refused; got.status != 503 {
		t.Fatalf("late and not known to be stored: %d, want 503", got.status)
	}
	m.speak()
	if n := db.number(`SELECT count(*) FROM webhook_queue`); n != 1 {
		t.Fatalf("%d rows are stored: the test proves nothing", n)
	}
	testkit.Eventually(t, "webhooks can be held again", func() bool { return s.probe("/readyz") == 200 })
	s.mustHoldOrPass("/hooks/x", numbered("a", 1)) // the lane may be open by now
	checkDelivered(t, a, "a", 0, 1)
	testkit.Eventually(t, "the lane opens", func() bool { return s.status().ShutLanes == 0 })
}

// ORDER=strict: the row commits, but the replica may not acknowledge it any more,
// since its heartbeats are late. Nobody waits for that one either.
func TestStrictRefusalOfAnAwaitedWebhook(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"ORDER": "strict", "WEBHOOK_ROUTES": "/hooks/late=generic+6s,/hooks/*=generic"})
	arrived, release := lateOnce(a)
	defer release()
	conn, err := db.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	// On a busy machine the lock may come so late that the permit outlasts it.
	lane, proven := "", false
	for try := 0; try < 5 && !proven; try++ {
		testkit.Eventually(t, "webhooks pass", func() bool { return !s.post("/hooks/x", numbered("before", 0)).held() })
		lane = fmt.Sprint("a", try)
		refused := make(chan answer)
		go func() { refused <- s.post("/hooks/late", numbered(lane, 0)) }()
		<-arrived
		if _, err := conn.Exec(t.Context(), `BEGIN; LOCK webhook_replicas IN SHARE MODE`); err != nil {
			t.Fatal(err)
		}
		got := <-refused
		stored := db.number(`SELECT count(*) FROM webhook_queue WHERE lane = $1`, "generic/"+lane)
		if _, err := conn.Exec(t.Context(), `COMMIT`); err != nil {
			t.Fatal(err)
		}
		proven = got.status == 503 && stored == 1
	}
	if !proven {
		t.Fatal("five webhooks were not refused though their rows are there: the test proves nothing")
	}
	testkit.Eventually(t, "webhooks can be held again", func() bool { return s.probe("/readyz") == 200 })
	checkDelivered(t, a, lane, 0)
	release() // earlier ones may still wait
	testkit.Eventually(t, "the lane opens", func() bool { return s.status().ShutLanes == 0 })
	// Not at once: it looks at the queue first, for what another one may have left.
	n := 0
	testkit.Eventually(t, "webhooks pass again", func() bool {
		n++
		got := s.post("/hooks/x", numbered("a", n))
		return got.acknowledged() && !got.held()
	})
}

// lateOnce makes the app hang at the first attempt of each webhook 0 on
// /hooks/late, until release.
func lateOnce(a *app) (arrived <-chan struct{}, release func()) {
	came, done := make(chan struct{}, 16), make(chan struct{})
	var once sync.Once
	a.does(func(_ http.ResponseWriter, _ *http.Request, d delivery) int {
		if _, n := d.number(); d.uri == "/hooks/late" && n == 0 && d.attempt == "1" {
			came <- struct{}{}
			<-done
			return 500
		}
		return 200
	})
	return came, func() { once.Do(func() { close(done) }) }
}

// checkDelivered waits until the lane's webhooks are accepted, in that order.
func checkDelivered(t *testing.T, a *app, lane string, want ...int) {
	t.Helper()
	var got []int
	if !testkit.Within(testkit.Patience, func() bool {
		got = nil
		for _, d := range a.accepted() {
			if l, n := d.number(); l == lane {
				got = append(got, n)
			}
		}
		return len(got) >= len(want)
	}) || !slices.Equal(got, want) {
		t.Fatalf("lane %s: delivered %v, want %v", lane, got, want)
	}
}

// GitHub gives one event the same delivery id at every webhook that subscribes to
// it: on two paths it is two deliveries.
func TestTwoPathsOfOneDelivery(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"WEBHOOK_ROUTES": "/gh/*=github,/hooks/*=generic"})
	a.stop()
	const id = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
	for _, path := range []string{"/gh/ci", "/gh/bot", "/gh/ci?again", "/gh/ci"} {
		s.mustHold(path, "{}", "X-GitHub-Delivery", id, "X-GitHub-Event", "push")
	}
	for _, path := range []string{"/hooks/one", "/hooks/two"} {
		s.mustHold(path, "{}", "Idempotency-Key", "same")
	}
	a.start()
	testkit.Eventually(t, "nothing is left", func() bool { return db.active() == 0 })
	var got []string
	for _, d := range a.accepted() {
		got = append(got, d.uri)
	}
	slices.Sort(got)
	if want := []string{"/gh/bot", "/gh/ci", "/gh/ci?again", "/hooks/one", "/hooks/two"}; !slices.Equal(got, want) {
		t.Errorf("delivered to %q, want %q", got, want)
	}
}

// A revision that encrypts with a new key runs beside the old one, and is rolled
// back: what only the new one can decrypt waits for it and is never given up.
func TestKeyRollout(t *testing.T) {
	t.Parallel()
	const oldKey, newKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
	db, a := newDatabase(t), runningApp(t)
	older := passing(t, db, a, env{"BUFFER_KEY": oldKey})
	newer := env{"BUFFER_KEY": newKey + "," + oldKey}
	s := passing(t, db, a, newer)
	hold := func(from, to int) {
		a.stop()
		for n := from; n < to; n++ {
			s.mustHold("/hooks/x", numbered(fmt.Sprint("lane", n%5), n))
		}
	}
	hold(0, 20)
	a.start()
	testkit.Eventually(t, "what the new revision held is delivered", func() bool { return db.count("completed") == 20 })
	hold(20, 40)
	s.Kill()
	a.start()
	testkit.Eventually(t, "the old revision says that it lacks a key", func() bool { return len(older.status().LockedKeys) == 1 })
	older.WaitRecords(1, "Held webhook is sealed with a key that no living replica has, its lane waits; add the key to BUFFER_KEY")
	if failed, active := db.count("failed"), db.active(); failed != 0 || active != 20 {
		t.Errorf("after the rollback %d rows have failed and %d wait, want 0 and 20", failed, active)
	}
	// Lanes without such rows go on.
	older.mustHoldOrPass("/hooks/x", numbered("other", 0))
	passing := started(t, db, a, newer)
	testkit.Eventually(t, "they are delivered by a replica that has the key", func() bool { return db.count("completed") >= 40 && db.active() == 0 })
	if failed := db.count("failed"); failed != 0 {
		t.Errorf("%d rows have failed", failed)
	}
	passing.waitState("passing")
}

// Webhooks that get 500 again and again keep no other lane waiting, and a large body
// in its backoff does not keep another large one waiting.
func TestFailingLanesStarveNobody(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"REPLAY_MIN_BACKOFF": "30s", "REPLAY_MAX_BACKOFF": "60s", "BREAKER_LIMIT": "0"})
	a.stop()
	var sending sync.WaitGroup
	for lane := range 45 {
		sending.Go(func() {
			for n := range 30 {
				s.mustHold("/hooks/x", numbered(fmt.Sprint("bad", lane), n))
			}
		})
	}
	large := func(lane string) string {
		return strings.TrimSuffix(numbered(lane, 0), "}") + `,"pad":"` + strings.Repeat("x", 17<<20) + `"}`
	}
	sending.Wait()
	for i := range 2 { // more than may be in memory together
		s.mustHold("/hooks/bad", large(fmt.Sprint("bad-large", i)))
	}
	s.mustHold("/hooks/x", numbered("good", 0))
	s.mustHold("/hooks/good", large("good-large"))
	a.does(func(_ http.ResponseWriter, _ *http.Request, d delivery) int {
		if lane, _ := d.number(); strings.HasPrefix(lane, "bad") || d.uri == "/hooks/bad" {
			return 500
		}
		return 200
	})
	a.start()
	checkDelivered(t, a, "good", 0)
	testkit.Eventually(t, "the good large one is delivered", func() bool {
		return slices.ContainsFunc(a.accepted(), func(d delivery) bool { return d.uri == "/hooks/good" })
	})
	// A new webhook of another lane is forwarded as well.
	testkit.Eventually(t, "a new lane's webhook is taken at once", func() bool { return !s.post("/hooks/x", numbered("new", 0)).held() })
}

// Attempts are counted when a webhook is sent: one that a replica has only read into
// memory has not been tried, however often the replica dies.
func TestCrashesAreNoAttempts(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	mine := env{"CONTAINER_APP_REPLICA_NAME": "one", "REPLAY_CONCURRENCY": "1", "REPLAY_MAX_ATTEMPTS": "4"}
	s := passing(t, db, a, mine)
	a.stop()
	const lanes = 5
	for lane := range lanes {
		s.mustHold("/hooks/x", numbered(fmt.Sprint("lane", lane), 0))
	}
	release := make(chan struct{})
	arrived := make(chan string, 100)
	a.does(func(_ http.ResponseWriter, r *http.Request, d delivery) int {
		lane, _ := d.number()
		arrived <- lane
		select {
		case <-release:
			return 200
		case <-r.Context().Done():
			return brokenOff
		}
	})
	a.start()
	sent := map[string]int{}
	for range 4 {
		sent[<-arrived]++
		s.Kill()
		s = start(t, db, a, mine)
	}
	for _, row := range db.texts(t, `SELECT lane || ' ' || attempts FROM webhook_queue`) {
		var lane string
		var attempts int
		fmt.Sscanf(row, "generic/%s %d", &lane, &attempts)
		if attempts > sent[lane]+1 { // one may be on its way
			t.Errorf("%s has %d attempts and was sent %d times", lane, attempts, sent[lane])
		}
	}
	close(release)
	testkit.Eventually(t, "all are delivered", func() bool { return db.count("completed") == lanes })
}

// A webhook that crashes the sidecar at each attempt is given up in the end, and
// what is behind it is delivered.
func TestWebhookThatKills(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	mine := env{"CONTAINER_APP_REPLICA_NAME": "one", "REPLAY_MAX_ATTEMPTS": "3"}
	s := passing(t, db, a, mine)
	a.stop()
	s.mustHold("/hooks/x", numbered("a", 0))
	s.mustHold("/hooks/x", numbered("a", 1))
	kills := make(chan struct{}, 100)
	a.does(func(_ http.ResponseWriter, r *http.Request, d delivery) int {
		if _, n := d.number(); n == 0 {
			kills <- struct{}{}
			<-r.Context().Done()
			return brokenOff
		}
		return 200
	})
	a.start()
	deaths := 0
	for delivered := false; !delivered && deaths < 20; {
		select {
		case <-kills:
			deaths++
			s.Kill()
			s = start(t, db, a, mine)
		case <-time.After(20 * time.Millisecond):
			delivered = len(a.accepted()) > 0
		}
	}
	checkDelivered(t, a, "a", 1)
	if deaths < 3 || deaths > 5 {
		t.Errorf("it killed %d times, want 3 or a few more", deaths)
	}
	testkit.Eventually(t, "the one that kills is recorded as failed", func() bool { return db.count("failed") == 1 })
	if got := db.texts(t, `SELECT attempts || ' ' || last_error FROM webhook_queue WHERE status = 'failed'`); len(got) != 1 || !strings.HasPrefix(got[0], "3 gave up after 3 attempts") {
		t.Errorf("failed rows %q", got)
	}
}

// A new revision that answers 404 to everything makes no dead letters: the webhooks
// wait, and arrive in order once the app accepts them.
func TestBreaker(t *testing.T) {
	t.Parallel()
	for _, lanes := range []int{1, 16} {
		t.Run(fmt.Sprint(lanes, " lanes"), func(t *testing.T) {
			t.Parallel()
			db, a := newDatabase(t), runningApp(t)
			s := passing(t, db, a)
			a.stop()
			l := hold(t, s, lanes, 200/lanes)
			a.does(always(404))
			a.start()
			testkit.Eventually(t, "the breaker opens", func() bool { return s.status().BreakerOpenSecs > 0 })
			n := len(a.deliveries())
			a.waitDeliveries(n + 2) // canaries go on
			if status := s.status(); status.BreakerStatus != 404 {
				t.Errorf("the status says %d", status.BreakerStatus)
			}
			if failed := db.count("failed"); failed != 0 {
				t.Errorf("%d rows have failed", failed)
			}
			a.does(always(200))
			if duplicates := l.check(t, a); duplicates > 0 {
				t.Errorf("%d came twice", duplicates)
			}
			testkit.Eventually(t, "the breaker is closed", func() bool { return s.status().BreakerOpenSecs == 0 })
			if failed := db.count("failed"); failed != 0 {
				t.Errorf("%d rows have failed", failed)
			}
		})
	}
}

// Beside a replica with a working app, one whose app refuses everything replays
// nothing: the other one gets its leases.
func TestBreakerHandsLeasesOver(t *testing.T) {
	t.Parallel()
	db, bad, good := newDatabase(t), runningApp(t), runningApp(t)
	broken := passing(t, db, bad)
	bad.stop()
	l := hold(t, broken, 16, 10)
	bad.does(always(404))
	bad.start()
	testkit.Eventually(t, "the breaker opens", func() bool { return broken.status().BreakerOpenSecs > 0 })
	started(t, db, good)
	l.check(t, good)
	if failed := db.count("failed"); failed != 0 {
		t.Errorf("%d rows have failed", failed)
	}
}

// One bad webhook among good ones still becomes a dead letter, and an operator can
// make the refusals count while the breaker is open.
func TestBreakerLeavesBadWebhooksToDie(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a)
	a.stop()
	for n := range 9 {
		s.mustHold("/hooks/x", numbered("a", n))
	}
	a.does(func(_ http.ResponseWriter, _ *http.Request, d delivery) int {
		if _, n := d.number(); n%3 != 2 {
			return 422
		}
		return 200
	})
	a.start()
	checkDelivered(t, a, "a", 2, 5, 8)
	testkit.Eventually(t, "the others are dead letters", func() bool {
		return db.number(`SELECT count(*) FROM webhook_queue WHERE status = 'failed' AND NOT suspect`) == 6
	})
	a.does(always(410))
	a.stop()
	for n := range 6 {
		s.mustHold("/hooks/x", numbered(fmt.Sprint("b", n), 0))
	}
	a.start()
	testkit.Eventually(t, "the breaker opens", func() bool { return s.status().BreakerOpenSecs > 0 })
	req, err := http.NewRequest(http.MethodPost, "http://"+s.control+"/v1/breaker/override", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := do(req); got.status != 204 {
		t.Fatalf("override: %d", got.status)
	}
	testkit.Eventually(t, "they are marked dead letters", func() bool {
		return db.number(`SELECT count(*) FROM webhook_queue WHERE status = 'failed' AND suspect`) == 6
	})
}
