package service_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"sluice/infra/testkit"
)

// long reports whether the long forms run: SLUICE_LONG=1 go test -timeout 30m
// ./internal/service.
func long() bool { return os.Getenv("SLUICE_LONG") != "" }

// The app is killed several times with 50 running jobs. All of them complete.
func TestKillWithFiftyJobs(t *testing.T) {
	const jobs = 50
	rounds := 2
	if long() {
		rounds = 20
	}
	db := testkit.Database(t)
	dir := t.TempDir()
	hook := hooksFile(t, fmt.Sprintf(`echo $SLUICE_DELIVERY_ID >> %[1]s/started; while [ ! -e %[1]s/go ]; do sleep 0.3; done; echo $SLUICE_DELIVERY_ID >> %[1]s/done`, dir))
	env := []string{"DATABASE_URL=" + db, "MAX_WORKERS=60", hook}
	pool := openPool(t, db)
	p := start(t, env...)
	var slowest time.Duration
	for round := range rounds {
		for i := range jobs {
			if code, body := p.post(fmt.Sprintf("%d-%d", round, i), "{}"); code != 202 {
				t.Fatalf("answered %d %s", code, body)
			}
		}
		p.wait("running jobs", func() bool { return len(lines(t, dir+"/started")) == jobs })
		p.Kill()
		write(t, dir+"/go", "")
		killed := time.Now()
		p = start(t, env...)
		testkit.Eventually(t, "end of all jobs", func() bool {
			return count(t, pool, `SELECT count(*) FROM river_job WHERE state = 'completed'`) == jobs*(round+1)
		})
		slowest = max(slowest, time.Since(killed))
		done := lines(t, dir+"/done")
		slices.Sort(done)
		if n := len(slices.Compact(done)); n != jobs {
			t.Errorf("round %d: %d of %d jobs done", round, n, jobs)
		}
		for _, file := range []string{"go", "started", "done"} {
			if err := os.Remove(filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d rounds of %d jobs, all done; slowest %s after the kill", rounds, jobs, slowest.Round(time.Millisecond))
}

// A process without a heartbeat for long enough counts as dead, wherever it ran; one
// with a heartbeat does not.
func TestRescueFromSilence(t *testing.T) {
	t.Parallel()
	db := testkit.Database(t)
	dir := t.TempDir()
	env := []string{"DATABASE_URL=" + db, hooksFile(t, fmt.Sprintf(`echo $SLUICE_DELIVERY_ID >> %s/done`, dir))}
	p := start(t, env...)
	pool := openPool(t, db)
	exec := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`INSERT INTO app_instances (id, home, pid) VALUES ('silent', 'elsewhere', 1), ('alive', 'elsewhere', 1)`)
	for _, id := range []string{"silent", "alive"} {
		exec(fmt.Sprintf(`
WITH w AS (INSERT INTO app_webhooks (sluice_id, source, delivery_id, event, received_at, headers, body)
	VALUES ('%[1]s', 'github', '%[1]s', 'push', now(), '{}', '{}'))
INSERT INTO river_job (args, kind, state, attempt, max_attempts, attempted_at, attempted_by)
VALUES (jsonb_build_object('sluice_id', '%[1]s', 'delivery_id', '%[1]s', 'source', 'github', 'event', 'push', 'hook', 'record', 'received_at', now()),
	'hook', 'running', 5, 5, now(), ARRAY['%[1]s'])`, id))
	}
	p.wait("rescue", func() bool {
		exec(`UPDATE app_instances SET seen_at = now() + interval '1 minute' WHERE id = 'alive'`)
		return len(lines(t, dir+"/done")) > 0
	})
	if got := lines(t, dir+"/done"); len(got) != 1 || got[0] != "silent" {
		t.Errorf("rescued %v", got)
	}
}

// Jobs that outlast the grace and its extension complete once, in the next
// revision.
func TestLongDrain(t *testing.T) {
	const jobs = 5
	grace := 1
	if long() {
		grace = 10
	}
	db := testkit.Database(t)
	dir := t.TempDir()
	hook := hooksFile(t, fmt.Sprintf(`echo $SLUICE_DELIVERY_ID >> %[1]s/started; while [ ! -e %[1]s/go ]; do sleep 0.1; done; echo $SLUICE_DELIVERY_ID >> %[1]s/done`, dir))
	env := []string{"DATABASE_URL=" + db, hook, fmt.Sprintf("SHUTDOWN_GRACE_MS=%d", grace*1000)}
	p := start(t, env...)
	for i := range jobs {
		p.post(fmt.Sprint(i), "{}")
	}
	p.wait("running jobs", func() bool { return len(lines(t, dir+"/started")) == jobs })
	began := time.Now()
	p.Signal(syscall.SIGTERM)
	next := start(t, env...)
	if code := p.ExitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if took, least := time.Since(began), time.Duration(2*grace)*time.Second; took < least {
		t.Errorf("the drain took %s, want at least %s", took, least)
	}
	write(t, dir+"/go", "")
	for _, msg := range []string{
		"Shutdown signal received, starting graceful drain",
		"Drain timeout, extending grace window once",
		"Force exit after extended grace timeout, work abandoned",
	} {
		if _, ok := p.logged(msg); !ok {
			t.Errorf("not logged: %s", msg)
		}
	}
	next.wait("end of all jobs", func() bool { return len(lines(t, dir+"/done")) >= jobs })
	done := lines(t, dir+"/done")
	slices.Sort(done)
	if len(slices.Compact(done)) != jobs || len(done) != jobs {
		t.Errorf("done: %v", done)
	}
}

// With 10,000 jobs in the queue the drain begins at once and the app needs little
// memory.
func TestManyQueuedJobs(t *testing.T) {
	const jobs = 10_000
	db := testkit.Database(t)
	hook := hooksFile(t, `sleep 0.2`)
	env := []string{"DATABASE_URL=" + db, hook}
	first := start(t, env...)
	first.Signal(syscall.SIGTERM)
	first.ExitCode()
	pool := openPool(t, db)
	fill(t, pool, jobs)

	for range 3 {
		p := start(t, env...)
		p.wait("running jobs", func() bool { _, ok := p.logged("Job execution started"); return ok })
		for i := range 20 { // webhooks arrive meanwhile
			if code, _ := p.post(fmt.Sprint("more-", i), strings.Repeat("x", 2048)); code != 202 {
				t.Errorf("answered %d", code)
			}
		}
		memory := peakMemory(t, p.Cmd.Process.Pid)
		began := time.Now()
		p.Signal(syscall.SIGTERM)
		p.wait("drain", func() bool { code, _ := p.post("late", "{}"); return code == 503 })
		took := time.Since(began)
		// The drain did not wait for the queue: in that time the workers could
		// run only a small part of it.
		if n := count(t, pool, `SELECT count(*) FROM river_job WHERE state = 'available'`); n < jobs/2 {
			t.Errorf("the drain began when %d of %d jobs were left", n, jobs)
		}
		if code := p.ExitCode(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		if memory > 100<<20 && !testkit.Race { // the race detector needs several times as much
			t.Errorf("%d MB of memory", memory>>20)
		}
		t.Logf("drain began after %s, %d MB of memory", took.Round(time.Microsecond), memory>>20)
	}
	if n := count(t, pool, `SELECT count(*) FROM river_job WHERE state = 'running'`); n != 0 {
		t.Errorf("%d jobs left as running", n)
	}
}

// fill inserts webhooks and jobs as intake does, but faster.
func fill(t *testing.T, pool *pgxpool.Pool, n int) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), `
WITH w AS (INSERT INTO app_webhooks (sluice_id, source, delivery_id, event, received_at, headers, body)
	SELECT 'q' || i, 'github', 'q' || i, 'push', now(), '{}', convert_to(repeat('x', 2048), 'UTF8') FROM generate_series(1, $1) i)
INSERT INTO river_job (args, kind, max_attempts)
SELECT jsonb_build_object('sluice_id', 'q' || i, 'delivery_id', 'q' || i, 'source', 'github', 'event', 'push', 'hook', 'record', 'received_at', now()), 'hook', 5
FROM generate_series(1, $1) i`, n); err != nil {
		t.Fatal(err)
	}
}

// peakMemory returns the peak memory of a process in bytes, or 0 where that cannot
// be read.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kb, err := strconv.Atoi(fields[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
