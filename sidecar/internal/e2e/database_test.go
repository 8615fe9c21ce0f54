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
)

func restart(t *testing.T, server *postgres.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
}

// While the database is gone nothing is acknowledged; what was, survives its
// crash and is delivered in order.
func TestDatabaseDiesWhileHolding(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*postgres.Server) error{
		"stopped": (*postgres.Server).Stop, "killed": (*postgres.Server).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, db := ownServer(t)
			a := runningApp(t)
			s := passing(t, db, a)
			a.stop()
			l := newLedger()
			var sending sync.WaitGroup
			var over atomic.Bool
			const lanes = 4
			for i := range lanes {
				sending.Go(func() { l.send(s, "/hooks/x", fmt.Sprint("lane", i), func(int) bool { return !over.Load() }) })
			}
			eventually(t, 20*time.Second, "some are held", func() bool { return l.total() > 100 })
			if err := end(server); err != nil {
				t.Fatal(err)
			}
			// Dead: from here to the restart there is not one acknowledgement.
			eventually(t, 10*time.Second, "those under way are answered", func() bool { return s.status().Database == "unreachable" })
			dead := l.total()
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
			if n := l.total(); n != dead {
				t.Errorf("%d acknowledged without a database", n-dead)
			}
			restart(t, server)
			eventually(t, 20*time.Second, "it holds again", func() bool { return l.total() > dead+50 })
			over.Store(true)
			sending.Wait()
			if l.refused == 0 {
				t.Error("nobody was refused: the test proves nothing")
			}
			a.start()
			l.check(t, a, 30*time.Second)
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
	s := passing(t, db, a)
	a.stop()
	l := newLedger()
	var sending sync.WaitGroup
	for i := range 6 {
		sending.Go(func() { l.send(s, "/hooks/x", fmt.Sprint("lane", i), upTo(60)) })
	}
	sending.Wait()
	a.does(func(http.ResponseWriter, *http.Request, delivery) int { <-time.After(3 * time.Millisecond); return 200 })
	a.start()
	a.waitAccepted(40, 10*time.Second)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	restart(t, server)
	duplicates := l.check(t, a, 60*time.Second)
	eventually(t, 20*time.Second, "nothing is left", func() bool { return db.active() == 0 })
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
	s, closed := start(t, db, up), start(t, db, away)
	if got := s.post("/hooks/x", "{}"); got.status != 503 {
		t.Errorf("before it is known that nothing is held: %d, want 503", got.status)
	}
	eventually(t, 15*time.Second, "it passes", func() bool { return s.post("/hooks/x", "{}").status == 200 })
	if took := time.Since(began); took < 4500*time.Millisecond || took > 12*time.Second {
		t.Errorf("passed after %v, want about 5 s", took)
	}
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
	eventually(t, 20*time.Second, "both can hold", func() bool { return s.probe("/startupz") == 200 && closed.post("/hooks/x", "{}").held() })
	eventually(t, 20*time.Second, "it passes with the database", func() bool { return s.status().State == "passing" })
	s.mustPass("/hooks/x", "{}")
	// Whatever the refused ones left behind is not held for ever.
	away.start()
	away.waitAccepted(0, time.Second)
	eventually(t, 20*time.Second, "nothing is left", func() bool { return db.active() == 0 })
}
