package e2e

import (
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/infra/steady"
	"sluice/infra/testkit"
)

// graces are what platforms allow, in seconds.
var graces = []int{1, 5, 10, 30}

// unknown stands for a number of rows that can't be known: the server may have
// executed the statement after its client had gone.
const unknown = -1

// ending is a replica that is about to end. It has its own app and database, on a
// server that the whole test shares.
type ending struct {
	*sidecar
	db    *database
	app   *app
	grace time.Duration
	began time.Time
}

// endings are replicas with each of the graces, passing webhooks on.
func endings(t *testing.T, server string) (all []*ending) {
	t.Helper()
	for _, seconds := range graces {
		url := testkit.DatabaseOn(t, server)
		e := &ending{db: openDatabase(t, url), app: runningApp(t), grace: time.Duration(seconds) * time.Second}
		// Without the race detector, with which a process takes long to end.
		e.sidecar = launch(t, testkit.PlainProgram(t, program), url, e.app, env{
			"TERMINATION_GRACE_SECONDS": strconv.Itoa(seconds), "HOLD_TIMEOUT": "1500ms", "STARTUP_GATE": "buffer",
			"WEBHOOK_ROUTES": "/hooks/late=generic+300ms,/hooks/stuck=generic+100s,/hooks/*=generic",
		})
		e.waitListening()
		e.waitState("passing")
		all = append(all, e)
	}
	return all
}

// end sends SIGTERM. The function that it returns waits for the end, checks it, and
// reports whether the machine was fast enough for the check to mean anything.
func (e *ending) end(t *testing.T, want int) (wait func() (judged bool)) {
	t.Helper()
	stalled := steady.Watch()
	e.began = time.Now()
	e.Signal(syscall.SIGTERM)
	ended := make(chan time.Duration, 1)
	go func() {
		<-e.Ended
		ended <- time.Since(e.began)
	}()
	return func() bool {
		t.Helper()
		code, took := e.ExitCode(), <-ended
		t.Logf("grace %s: ended after %s with %d", e.grace, took.Round(time.Millisecond), code)
		if d := stalled(); d > e.grace/20 {
			t.Logf("grace %s: the machine stalled for %s, which proves nothing", e.grace, d)
			return false
		}
		// The platform would send SIGKILL then.
		if took >= e.grace {
			t.Errorf("grace %s: ended after %s", e.grace, took)
		}
		if code != want {
			t.Errorf("grace %s: exit code %d, want %d", e.grace, code, want)
		}
		return true
	}
}

func each(all []*ending, f func(*ending)) {
	var done sync.WaitGroup
	for _, e := range all {
		done.Go(func() { f(e) })
	}
	done.Wait()
}

// A replica with nothing left to do ends with 0 however short its grace is, and
// leaves no lease behind.
func TestCleanEndWithAnyGrace(t *testing.T) {
	t.Parallel()
	all := endings(t, testkit.ServerURL(t))
	for _, e := range all {
		e.mustPass("/hooks/x", "{}")
		wait := e.end(t, 0)
		e.app.stop()
		judged := wait()
		if n := e.db.number(`SELECT count(*) FROM webhook_leases WHERE holder IS NOT NULL`); n != 0 && judged {
			t.Errorf("grace %s: %d leases are still held", e.grace, n)
		}
	}
}

// PostgreSQL freezes and the app goes: a replica ends within its grace, and its
// exit code says whether anything was cut off or could not be recorded.
func TestEndWithFrozenPostgres(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		want int
		// busy has each replica at work when the server freezes, which it does
		// when busy calls freeze; what it returns is done after SIGTERM.
		busy func(t *testing.T, all []*ending, freeze func())
		left int64 // rows still to be delivered
	}{
		{"nothing to do", 0, func(_ *testing.T, _ []*ending, freeze func()) { freeze() }, 0},
		{"delivered, not recorded", 1, func(t *testing.T, all []*ending, freeze func()) {
			frozen := make(chan struct{})
			for _, e := range all {
				e.app.stop()
				e.mustHold("/hooks/x", "{}")
				e.app.does(func(http.ResponseWriter, *http.Request, delivery) int { <-frozen; return 200 })
				e.app.start()
			}
			for _, e := range all {
				testkit.Eventually(t, "the app has it", func() bool { return e.app.busy.Load() == 1 })
			}
			freeze()
			close(frozen)
			for _, e := range all {
				e.app.waitAccepted(1)
			}
		}, 1},
		{"answered late, not recorded", 1, func(t *testing.T, all []*ending, freeze func()) {
			frozen := make(chan struct{})
			for _, e := range all {
				e.app.does(func(http.ResponseWriter, *http.Request, delivery) int { <-frozen; return 200 })
				e.mustHold("/hooks/late", "{}")
			}
			freeze()
			close(frozen)
			for _, e := range all {
				e.app.waitAccepted(1)
			}
		}, 1},
		{"forwarded, not answered", 1, func(t *testing.T, all []*ending, freeze func()) {
			for _, e := range all {
				release := make(chan struct{})
				t.Cleanup(func() { close(release) })
				e.app.does(func(http.ResponseWriter, *http.Request, delivery) int { <-release; return 200 })
				go func() {
					if got := e.post("/hooks/stuck", "{}"); got.acknowledged() {
						t.Errorf("grace %s: acknowledged what nobody has", e.grace)
					}
				}()
				testkit.Eventually(t, "it is in flight", func() bool { return e.status().InFlight == 1 })
			}
			freeze()
		}, unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server, _ := ownServer(t)
			all := endings(t, server.URL)
			freeze := func() {
				t.Helper()
				if err := server.Freeze(); err != nil {
					t.Fatal(err)
				}
			}
			c.busy(t, all, freeze)
			each(all, func(e *ending) {
				wait := e.end(t, c.want)
				if c.name != "forwarded, not answered" {
					e.app.stop()
				}
				wait()
			})
			if err := server.Thaw(); err != nil {
				t.Fatal(err)
			}
			for _, e := range all {
				testkit.Eventually(t, "the server answers", func() bool { return e.db.active() >= 0 })
				if n := e.db.active(); n != c.left && c.left != unknown {
					t.Errorf("grace %s: %d rows are left, want %d", e.grace, n, c.left)
				}
			}
		})
	}
}
