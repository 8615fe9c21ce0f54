package e2e

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/infra/postgres"
	"sluice/infra/testkit"
)

func restart(t *testing.T, server *postgres.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	if err := server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
}

// While the database is gone nothing is acknowledged. What was acknowledged before
// survives its crash and is delivered in order.
func TestDatabaseDiesWhileHolding(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*postgres.Server) error{
		"stopped": (*postgres.Server).Stop, "killed": (*postgres.Server).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, db := ownServer(t)
			a := runningApp(t)
			s := passing(t, db, a, env{"HOLD_TIMEOUT": "1500ms"})
			a.stop()
			l := newLedger()
			var sending sync.WaitGroup
			var over, dead atomic.Bool
			const lanes = 4
			for i := range lanes {
				lane := fmt.Sprint("lane", i)
				sending.Go(func() {
					for n := 0; !over.Load(); n++ {
						began := dead.Load()
						got := s.post("/hooks/x", numbered(lane, n))
						if began && got.acknowledged() && dead.Load() {
							t.Errorf("%s %d: acknowledged without a database", lane, n)
						}
						l.note(lane, n, got)
					}
				})
			}
			testkit.Eventually(t, "some are held", func() bool { return l.total() > 100 })
			if err := end(server); err != nil {
				t.Fatal(err)
			}
			// From here to the restart nothing is acknowledged.
			dead.Store(true)
			testkit.Eventually(t, "it is known", func() bool { return s.status().Database == "unreachable" })
			for i := range lanes {
				if got := s.post("/hooks/x", numbered(fmt.Sprint("probe", i), i)); got.status != 503 || got.header.Get("Retry-After") == "" {
					t.Errorf("answered %d %q, want 503 with Retry-After", got.status, got.body)
				}
			}
			if got := s.get("/healthz"); got.status != 503 {
				t.Errorf("/healthz answered %d", got.status)
			}
			if got := s.probe("/readyz"); got != 503 {
				t.Errorf("/readyz answered %d", got)
			}
			dead.Store(false)
			before := l.total()
			restart(t, server)
			testkit.Eventually(t, "it holds again", func() bool { return l.total() > before+50 })
			over.Store(true)
			sending.Wait()
			if l.refused == 0 {
				t.Error("nobody was refused: the test proves nothing")
			}
			a.start()
			l.check(t, a)
			s.waitState("passing")
		})
	}
}

// The database dies in the middle of a replay: what the app has taken may come
// twice, nothing is lost and no lane is out of order.
func TestDatabaseDiesDuringReplay(t *testing.T) {
	t.Parallel()
	server, db := ownServer(t)
	a := runningApp(t)
	s := passing(t, db, a, env{"HOLD_TIMEOUT": "1500ms"})
	a.stop()
	l := newLedger()
	var sending sync.WaitGroup
	for i := range 6 {
		sending.Go(func() { l.send(s, "/hooks/x", fmt.Sprint("lane", i), upTo(60)) })
	}
	sending.Wait()
	a.does(func(http.ResponseWriter, *http.Request, delivery) int { <-time.After(3 * time.Millisecond); return 200 })
	a.start()
	a.waitAccepted(40)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	restart(t, server)
	duplicates := l.check(t, a)
	testkit.Eventually(t, "nothing is left", func() bool { return db.active() == 0 })
	t.Logf("%d duplicates", duplicates)
}

// Without a database but with a healthy app webhooks pass after five seconds;
// without either they are refused.
func TestDatabaseAwayFromTheStart(t *testing.T) {
	t.Parallel()
	server, db := ownServer(t)
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	up, away := runningApp(t), newApp(t)
	began := time.Now()
	soon := env{"HOLD_TIMEOUT": "1500ms"}
	s := start(t, db, up, soon)
	testkit.Eventually(t, "it passes", func() bool { return s.post("/hooks/x", "{}").status == 200 })
	// The five seconds are there because what is held is unknown.
	if took := time.Since(began); took < 5*time.Second {
		t.Errorf("passed after %v, want 5 s at the least", took)
	}
	closed := start(t, db, away, soon)
	s.mustPass("/hooks/x", "{}")
	if got := s.probe("/readyz"); got != 200 {
		t.Errorf("/readyz answered %d while webhooks pass", got)
	}
	if got := closed.post("/hooks/x", "{}"); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("app and database away: %d, want 503 with Retry-After", got.status)
	}
	if got := closed.probe("/startupz"); got != 503 {
		t.Errorf("/startupz answered %d with nothing there", got)
	}
	// The app fails while the database is still away: no false acknowledgement.
	up.does(always(503))
	if got := s.post("/hooks/x", "{}"); got.status != 503 || got.held() {
		t.Errorf("app fails, database away: %d held=%v", got.status, got.held())
	}
	up.does(always(200))
	restart(t, server)
	testkit.Eventually(t, "both can hold", func() bool { return s.probe("/startupz") == 200 && closed.post("/hooks/x", "{}").held() })
	testkit.Eventually(t, "it passes with the database", func() bool { return s.status().State == "passing" })
	s.mustPass("/hooks/x", "{}")
	// Rows that the refused ones left behind are not held for ever.
	away.start()
	testkit.Eventually(t, "nothing is left", func() bool { return db.active() == 0 })
}
