package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/infra/testkit"
)

// An app that answers after the sender's budget: the sender is acknowledged
// with held, the lane waits, and the late answer decides.
func TestLateAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		late      behaviour
		completed bool
		attempts  []string
	}{
		{"2xx", always(204), true, []string{"1"}},
		{"500", always(500), false, []string{"1", "2"}},
		{"400", always(400), false, []string{"1", "2"}},
		{"reset", reset, false, []string{"1", "2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db, a := newDatabase(t), runningApp(t)
			s := passing(t, db, a)
			release := make(chan struct{})
			a.does(func(w http.ResponseWriter, r *http.Request, d delivery) int {
				if lane, n := d.number(); lane == "a" && n == 0 && d.attempt == "1" {
					<-release
					return c.late(w, r, d)
				}
				return 200
			})
			first := s.mustHold("/hooks/late", numbered("a", 0))
			// The app has not answered: the budget is over, and not too early.
			if first.took < 300*time.Millisecond {
				t.Errorf("acknowledged after %v, before the budget of 300 ms was over", first.took)
			}
			// Later ones of the lane wait, other lanes do not.
			s.mustHold("/hooks/late", numbered("a", 1))
			s.mustHold("/hooks/x", numbered("a", 2))
			s.mustPass("/hooks/x", numbered("b", 0))
			throughout(t, 500*time.Millisecond, "nothing of the lane is delivered", func() bool { return len(a.accepted()) == 1 })
			if n := db.number(`SELECT count(*) FROM webhook_queue WHERE status = 'processing' AND awaited_by IS NOT NULL`); n != 1 {
				t.Errorf("%d rows are awaited, want 1", n)
			}
			// The runbook's UPDATE does not make it come twice.
			db.exec(t, `UPDATE webhook_queue SET status = 'pending' WHERE status = 'processing'`)
			close(release)
			testkit.Eventually(t, "the lane is empty", func() bool { return db.active() == 0 && db.count("completed") == 3 })
			var order, attempts []string
			for _, d := range a.deliveries() {
				lane, n := d.number()
				if lane == "a" && d.status/100 == 2 {
					order = append(order, fmt.Sprint(n))
				}
				if lane == "a" && n == 0 {
					attempts = append(attempts, d.attempt)
					if d.id != first.header.Get("Sluice-Id") {
						t.Errorf("Sluice-Id is %s, the sender was told %s", d.id, first.header.Get("Sluice-Id"))
					}
					if replayed := d.attempt != "1"; d.replayed != fmt.Sprint(replayed) {
						t.Errorf("attempt %s has Sluice-Replayed: %s", d.attempt, d.replayed)
					}
				}
			}
			if fmt.Sprint(order) != "[0 1 2]" || fmt.Sprint(attempts) != fmt.Sprint(c.attempts) {
				t.Errorf("delivered %v, attempts of the first %v, want [0 1 2] and %v", order, attempts, c.attempts)
			}
			testkit.Eventually(t, "the lane opens", func() bool { return s.status().ShutLanes == 0 })
			s.mustPass("/hooks/x", numbered("a", 3))
		})
	}
}

// The sidecar dies while it awaits a late answer: its successor delivers the
// webhook again, and nothing of the lane before it.
func TestDeathWhileAwaiting(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	name := env{"CONTAINER_APP_REPLICA_NAME": "replica-one"}
	s := passing(t, db, a, name)
	release := make(chan struct{})
	defer close(release)
	a.does(func(_ http.ResponseWriter, _ *http.Request, d delivery) int {
		if d.attempt == "1" && d.uri == "/hooks/late" {
			<-release
		}
		return 200
	})
	first := s.mustHold("/hooks/late", numbered("a", 0))
	s.mustHold("/hooks/x", numbered("a", 1))
	s.Kill()
	started(t, db, a, name)
	got := a.waitAccepted(2)
	if _, n := got[0].number(); n != 0 || got[0].attempt != "2" || got[0].id != first.header.Get("Sluice-Id") {
		t.Errorf("first came %d, attempt %s", n, got[0].attempt)
	}
	if _, n := got[1].number(); n != 1 {
		t.Errorf("second came %d", n)
	}
}

// The database goes while a late answer is awaited: it is recorded when the
// database is back, and the app does not get the webhook twice.
func TestLateAnswerWithoutDatabase(t *testing.T) {
	t.Parallel()
	server, db := ownServer(t)
	a := runningApp(t)
	s := passing(t, db, a, env{"HOLD_TIMEOUT": "5s"})
	release := make(chan struct{})
	a.does(func(_ http.ResponseWriter, _ *http.Request, d delivery) int {
		if d.uri == "/hooks/late" {
			<-release
		}
		return 200
	})
	first := s.mustHold("/hooks/late", numbered("a", 0))
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	// One whose budget ends without a database is refused.
	if got := s.post("/hooks/late", numbered("b", 0)); got.status != 503 {
		t.Errorf("late and not stored: %d, want 503", got.status)
	}
	close(release)
	a.waitAccepted(1)
	restart(t, server)
	testkit.Eventually(t, "it is recorded", func() bool { return db.count("completed") >= 1 && db.active() == 0 })
	if n := len(a.of(first.header.Get("Sluice-Id"))); n != 1 {
		t.Errorf("delivered %d times", n)
	}
}

// The sender repeats a webhook whose late answer is awaited: the copy joins the
// first, and the failure of one does not bring the other back too early.
func TestCopyOfAwaitedWebhook(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a)
	release := make(chan struct{})
	var once sync.Once
	free := func() { once.Do(func() { close(release) }) }
	defer free()
	a.does(func(w http.ResponseWriter, r *http.Request, d delivery) int {
		if d.attempt == "1" && d.replayed == "false" {
			<-release
		}
		return 200
	})
	first := s.mustHold("/hooks/late", "{}", "X-Delivery-Id", "same")
	second := s.mustHold("/hooks/late", "{}", "X-Delivery-Id", "same")
	if a, b := first.header.Get("Sluice-Id"), second.header.Get("Sluice-Id"); a != b {
		t.Errorf("the copy was told %s, the first %s", b, a)
	}
	free()
	testkit.Eventually(t, "one row is completed", func() bool { return db.count("completed") == 1 && db.active() == 0 })
	if got := a.deliveries(); len(got) != 1 {
		t.Errorf("delivered %d times", len(got))
	}
}

// An app that says 103 in time and answers late is late: the webhook is
// acknowledged as held, its one delivery completes it, and one that is replayed
// is waited for just as well.
func TestLateAfterInterimAnswer(t *testing.T) {
	t.Parallel()
	for _, interim := range []string{
		"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n",
		"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: <",
	} {
		t.Run(interim[9:12], func(t *testing.T) {
			t.Parallel()
			db, a := newDatabase(t), newApp(t)
			raw := newRawApp(t, a)
			s := passing(t, db, a)
			release := make(chan struct{})
			var once sync.Once
			free := func() { once.Do(func() { close(release) }) }
			defer free()
			var deliveries atomic.Int64
			before := func(w io.Writer) {
				deliveries.Add(1)
				io.WriteString(w, interim)
				<-release
				if !strings.HasSuffix(interim, "\r\n\r\n") {
					io.WriteString(w, "/late>\r\n\r\n")
				}
			}
			raw.before.Store(&before)
			s.mustHold("/hooks/late", "{}")
			testkit.Eventually(t, "its answer is awaited", func() bool {
				return db.number(`SELECT count(*) FROM webhook_queue WHERE awaited_by IS NOT NULL AND status IN ('pending', 'processing')`) == 1
			})
			throughout(t, time.Second, "it is not sent again", func() bool { return deliveries.Load() == 1 })
			free()
			testkit.Eventually(t, "it is completed", func() bool { return db.count("completed") == 1 && db.active() == 0 })
			if n := deliveries.Load(); n != 1 {
				t.Errorf("delivered %d times", n)
			}
			raw.ln.Close()
			s.mustHold("/hooks/x", "{}")
			raw.listen(t)
			raw.next(t)
			raw.next(t)
			testkit.Eventually(t, "what is replayed is completed", func() bool { return db.count("completed") == 2 && db.active() == 0 })
		})
	}
}
