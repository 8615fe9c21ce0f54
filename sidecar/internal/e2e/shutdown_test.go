package e2e

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/infra/testkit"
)

// A whole shutdown: webhooks are held from the first moment, the app is told, the
// listener stays open until the app is gone and no request comes, exit code 0.
func TestShutdownInOrder(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a)
	release := make(chan struct{})
	a.does(func(_ http.ResponseWriter, _ *http.Request, d delivery) int {
		if d.uri == "/hooks/slow" {
			<-release
		}
		return 200
	})
	slow := make(chan answer, 1)
	go func() { slow <- s.post("/hooks/slow", "{}") }()
	testkit.Eventually(t, "a request is in flight", func() bool { return s.status().InFlight == 1 })

	s.Signal(syscall.SIGTERM)
	s.waitState("draining")
	s.mustHold("/hooks/x", numbered("a", 0))
	if got := s.get("/other"); got.status != 200 {
		t.Errorf("the general lane answered %d while the app still drains", got.status)
	}
	for path, want := range map[string]int{"/readyz": 200, "/livez": 200} {
		if got := s.probe(path); got != want {
			t.Errorf("%s answered %d while draining, want %d", path, got, want)
		}
	}
	if got := s.get("/healthz"); got.status != 200 || !strings.Contains(got.body, `"state":"draining"`) {
		t.Errorf("/healthz answered %d %s", got.status, got.body)
	}
	testkit.Eventually(t, "the app is told", func() bool { return a.drains.Load() == 1 })
	close(release)
	if got := <-slow; got.status != 200 || got.held() {
		t.Errorf("the request in flight got %d held=%v", got.status, got.held())
	}
	s.Signal(syscall.SIGTERM) // a second one changes nothing
	// The app still listens: the sidecar stays.
	throughout(t, 6*time.Second, "the sidecar lives as long as the app", s.Running)
	a.stop()
	gone := time.Now()
	s.mustHold("/hooks/x", numbered("a", 1))
	s.Signal(syscall.SIGINT)
	if code := s.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	// The end by the grace period would be an exit code of 1.
	if took := time.Since(gone); took < 5*time.Second {
		t.Errorf("ended %v after the last request, want 5 s at the least", took)
	}
	if n := db.count("pending"); n != 2 {
		t.Errorf("%d rows are pending, want 2", n)
	}
	// It has ended: its whole log has been read.
	for _, message := range []string{
		"Shutdown signal received, starting graceful drain", "Graceful drain completed successfully",
		"Webhook queued to PostgreSQL for drain-time replay",
	} {
		if len(s.Output.Records(message)) == 0 {
			t.Errorf("no line %q", message)
		}
	}
	begun := s.Output.Records("Shutdown signal received, starting graceful drain")
	if len(begun) != 1 || begun[0]["activeRequests"] != 1.0 || begun[0]["activeJobs"] == nil || begun[0]["activeTotal"] != 1.0 {
		t.Errorf("drain lines: %v", begun)
	}
	if state := db.texts(t, `SELECT state FROM webhook_replicas`); len(state) != 1 || state[0] != "stopped" {
		t.Errorf("replica is left as %v", state)
	}
	// The next revision takes what was held.
	a.start()
	began := time.Now()
	next := passing(t, db, a)
	got := a.waitAccepted(3)
	t.Logf("first replay %v after the start of the next", got[1].at.Sub(began))
	complete := next.WaitRecords(1, "Startup webhook queue replay complete")
	if len(complete) != 1 || complete[0]["queuedWebhooksProcessed"] != 2.0 {
		t.Errorf("replay line: %v", complete)
	}
	next.WaitRecords(1, "Dequeued pending webhooks for replay")
}

// An app that does not end is cut off at the deadline: its webhooks are held, and
// the exit code says so.
func TestShutdownDeadline(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"TERMINATION_GRACE_SECONDS": "15", "WEBHOOK_ROUTES": "/hooks/late=generic+300ms,/hooks/stuck=generic+60s,/hooks/*=generic"})
	release := make(chan struct{})
	defer close(release)
	a.does(func(http.ResponseWriter, *http.Request, delivery) int { <-release; return 200 })
	a.serves(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	stuck := make(chan answer, 1)
	go func() { stuck <- s.post("/hooks/stuck", numbered("a", 0)) }()
	go s.get("/stuck")
	s.mustHold("/hooks/late", numbered("b", 0))
	testkit.Eventually(t, "three are in flight", func() bool { return s.status().InFlight == 3 })
	began := time.Now()
	s.Signal(syscall.SIGTERM)
	if code := s.ExitCode(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	// The platform would send SIGKILL after 15 s.
	if took := time.Since(began); took < 10*time.Second || took > 15*time.Second {
		t.Errorf("ended after %v, want between 10 and 15 s", took)
	}
	if len(s.Output.Records("Grace period is over, cutting off what still runs")) != 1 {
		t.Error("no line about what was cut off")
	}
	if got := <-stuck; !got.held() {
		t.Errorf("the stuck webhook got %d %q (%v), want it held", got.status, got.body, got.err)
	}
	rows := db.texts(t, `SELECT status || ' ' || COALESCE(awaited_by::text, 'free') || ' ' || convert_from(body, 'UTF8') FROM webhook_queue ORDER BY id`)
	if len(rows) != 2 || !strings.HasPrefix(rows[0], "pending free") || !strings.HasPrefix(rows[1], "pending free") {
		t.Errorf("rows are left as %q", rows)
	}
}

// SIGTERM during a replay: leases are given back at once, and the next sidecar,
// whatever its name, goes on without waiting.
func TestShutdownGivesLeasesBack(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a)
	a.stop()
	l := hold(t, s, 8, 40)
	var taken atomic.Int32
	a.does(func(http.ResponseWriter, *http.Request, delivery) int {
		if taken.Add(1) > 30 { // some must be left when the signal comes
			<-time.After(300 * time.Millisecond)
		}
		return 200
	})
	a.start()
	a.waitAccepted(30)
	s.Signal(syscall.SIGTERM)
	s.waitState("draining")
	// Leases are given back once nothing is under way; else the next one would
	// wait until they lapse.
	testkit.Eventually(t, "leases are given back while it drains", func() bool {
		return db.number(`SELECT count(*) FROM webhook_leases WHERE holder IS NOT NULL`) == 0
	})
	a.does(always(200))
	n := len(a.accepted())
	throughout(t, 500*time.Millisecond, "a draining replica replays nothing", func() bool { return len(a.accepted()) == n })
	if n == 8*40 {
		t.Fatal("all was replayed before the signal: the test proves nothing")
	}
	started(t, db, a)
	a.waitAccepted(n + 1)
	if !s.Running() {
		t.Error("the next one did not replay beside the one that drains")
	}
	if duplicates := l.check(t, a); duplicates > 0 {
		t.Errorf("%d came twice", duplicates)
	}
	a.stop()
	if code := s.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// A SIGTERM before anything is ready ends the process cleanly.
func TestShutdownAtOnce(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), newApp(t)
	s := start(t, db, a)
	s.Signal(syscall.SIGTERM)
	if code := s.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	// It needs no database to end.
	away := start(t, &database{url: "postgres://postgres@127.0.0.1:1/postgres?sslmode=disable"}, a)
	away.Signal(syscall.SIGTERM)
	if code := away.ExitCode(); code != 0 {
		t.Errorf("without a database: exit code %d, want 0", code)
	}
}

// A sidecar that is replaced alone ends though senders go on: with APP_STAYS nobody
// else takes their webhooks, so it would never be quiet. Nothing is lost.
func TestReplacedAloneUnderLoad(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"APP_STAYS": "true"})
	var acknowledged []string
	over := make(chan struct{})
	go func() {
		defer close(over)
		for n := 0; s.Running(); n++ {
			body := numbered("alone", n)
			resp, err := client.Post(s.url+"/hooks/x", "application/json", strings.NewReader(body))
			if err != nil {
				continue // nobody listens any more
			}
			resp.Body.Close()
			if resp.StatusCode/100 == 2 {
				acknowledged = append(acknowledged, body)
			}
		}
	}()
	a.waitAccepted(20)
	s.Signal(syscall.SIGTERM)
	if code := s.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	<-over
	if a.drains.Load() != 0 {
		t.Error("the app, which stays, was told to drain")
	}
	passing(t, db, a, env{"APP_STAYS": "true", "CONTAINER_APP_REPLICA_NAME": s.env["CONTAINER_APP_REPLICA_NAME"]})
	testkit.Eventually(t, "every webhook that was acknowledged is delivered", func() bool {
		got := map[string]bool{}
		for _, d := range a.accepted() {
			got[d.body] = true
		}
		return !slices.ContainsFunc(acknowledged, func(body string) bool { return !got[body] })
	})
}

// `sidecar drain` holds from now on and tells the app, once, but the replica ends only
// at SIGTERM.
func TestDrainBeforeSIGTERM(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a)
	for range 2 { // the second changes nothing
		if out, err := exec.Command(testkit.Program(t, program), "drain", "--addr", s.control).CombinedOutput(); err != nil {
			t.Fatalf("drain: %v: %s", err, out)
		}
	}
	s.mustHold("/hooks/x", numbered("a", 0))
	testkit.Eventually(t, "the app is told", func() bool { return a.drains.Load() == 1 })
	a.stop()
	throughout(t, time.Second, "the sidecar goes on", s.Running)
	s.mustHold("/hooks/x", numbered("a", 1))
	s.Signal(syscall.SIGTERM)
	if code := s.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if n := a.drains.Load(); n != 1 {
		t.Errorf("the app was told %d times", n)
	}
	if out, err := exec.Command(testkit.Program(t, program), "drain", "--addr", s.control).CombinedOutput(); err == nil {
		t.Errorf("drain of a sidecar that has ended: %s", out)
	}
}

// A sender on a kept-alive connection is told when the listener closes, and loses
// nothing.
func TestShutdownOfKeptConnections(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a)
	c := s.dial()
	send := func() answer {
		io.WriteString(c, "POST /hooks/x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")
		return readAnswer(bufio.NewReader(c))
	}
	if got := send(); got.status != 200 {
		t.Fatalf("answered %d", got.status)
	}
	idle := s.dial()
	a.stop()
	s.Signal(syscall.SIGTERM)
	acknowledged := 1
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		if got := send(); !got.held() {
			t.Fatalf("answered %d (%v) while draining", got.status, got.err)
		}
		acknowledged++
		c = s.dial() // the answer ended its connection
	}
	if code := s.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("an idle connection ended with %v", err)
	}
	if n := db.count("pending"); int(n) != acknowledged-1 {
		t.Errorf("%d held, %d acknowledged", n, acknowledged-1)
	}
}

// Killed during a replay, the sidecar loses nothing. A successor of the same name
// goes on at once, one of another name when the leases have lapsed.
func TestKilledDuringReplay(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"same name", "another name"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, a := newDatabase(t), runningApp(t)
			s := passing(t, db, a, env{"CONTAINER_APP_REPLICA_NAME": "same name"})
			a.stop()
			l := hold(t, s, 8, 40)
			a.does(func(http.ResponseWriter, *http.Request, delivery) int {
				<-time.After(10 * time.Millisecond)
				return 200
			})
			a.start()
			a.waitAccepted(30)
			s.Kill()
			testkit.Eventually(t, "what it had posted is answered", func() bool { return a.busy.Load() == 0 })
			n := len(a.accepted())
			if name == "same name" {
				// Leases that do not lapse in this test: waiting for that would fail.
				db.exec(t, `UPDATE webhook_leases SET expires_at = 'infinity' WHERE holder IS NOT NULL`)
				db.exec(t, `UPDATE webhook_replicas SET seen_at = clock_timestamp() + interval '1 hour'`)
			}
			began := time.Now()
			next := started(t, db, a, env{"CONTAINER_APP_REPLICA_NAME": name})
			up := time.Now()
			a.waitAccepted(n + 1)
			t.Logf("ready after %v, first replay %v after that", up.Sub(began), time.Since(up))
			duplicates := l.check(t, a)
			if duplicates > 8*64 {
				t.Errorf("%d came twice", duplicates)
			}
			t.Logf("%d duplicates", duplicates)
			next.waitState("passing")
		})
	}
}

// Signals go to the process alone: the binary must not need a shell or a parent.
func TestVersionAndProbe(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(testkit.Program(t, program), "version").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) == "" {
		t.Errorf("version: %q %v", out, err)
	}
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a)
	if out, code := runOnce(t, nil, "probe", "--url", "http://"+s.probes+"/readyz"); code != 0 {
		t.Errorf("probe of a ready sidecar: %d %q", code, out)
	}
	if out, code := runOnce(t, nil, "status", "--addr", s.control); code != 0 || !strings.Contains(out, "passing") {
		t.Errorf("status: %d %q", code, out)
	}
	s.Kill()
	if _, code := runOnce(t, nil, "probe", "--url", "http://"+s.probes+"/readyz"); code == 0 {
		t.Error("probe of a dead sidecar succeeded")
	}
	if _, code := runOnce(t, nil, "status", "--addr", s.control); code != 1 {
		t.Errorf("status of a dead sidecar: exit %d, want 1", code)
	}
}
