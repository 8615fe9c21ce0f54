package service_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/infra/testkit"
	"sluice/sidecar/senders"
)

func (p *proc) begin(how string) {
	p.t.Helper()
	if how == "SIGTERM" {
		p.Signal(syscall.SIGTERM)
		return
	}
	resp, err := http.Post(p.url+"/drain", "", nil) //nolint:noctx // bounded by the test
	if err != nil {
		p.t.Fatal(err)
	}
	_ = resp.Body.Close()
	p.Signal(syscall.SIGTERM) // the platform sends one as well
}

// postDrain sends POST /drain signed with secret, or unsigned when it is "".
func (p *proc) postDrain(secret string, at time.Time) int {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodPost, p.url+"/drain", nil) //nolint:noctx // bounded by the test
	if err != nil {
		p.t.Fatal(err)
	}
	if secret != "" {
		for _, f := range senders.SignDrain(secret, at) {
			req.Header.Set(f.Name, f.Value)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// With SLUICE_SECRET only the sidecar can begin the drain.
func TestDrainIsTheSidecars(t *testing.T) {
	p := start(t, "DATABASE_URL="+testkit.Database(t), "SLUICE_SECRET=new,old")
	for name, code := range map[string]int{
		"unsigned":       p.postDrain("", time.Time{}),
		"another secret": p.postDrain("other", time.Now()),
		"too old":        p.postDrain("new", time.Now().Add(-2*time.Minute)),
	} {
		if code != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, code)
		}
	}
	if _, body := p.get("/drain"); body != `{"draining":false,"activeRequests":0,"activeJobs":0}` {
		t.Errorf("after the refusals: %s", body)
	}
	if line, ok := p.logged("Drain refused, the request is not the sidecar's"); !ok {
		t.Errorf("no refusal is logged: %s", line)
	}
	if code := p.postDrain("old", time.Now()); code != http.StatusAccepted {
		t.Errorf("signed: %d", code)
	}
	if code := p.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// While a job runs, the drain refuses webhooks and starts no queued job; it ends
// when the job ends.
func TestDrainWaitsForJobs(t *testing.T) {
	for _, how := range []string{"SIGTERM", "POST"} {
		t.Run(how, func(t *testing.T) {
			db := testkit.Database(t)
			dir := t.TempDir()
			hook := hooksFile(t, fmt.Sprintf(`touch %[1]s/running; while [ ! -e %[1]s/go ]; do sleep 0.05; done; echo $SLUICE_DELIVERY_ID >> %[1]s/out`, dir))
			p := start(t, "DATABASE_URL="+db, "MAX_WORKERS=1", hook)
			p.post("first", "{}")
			p.wait("running job", func() bool { return exists(dir + "/running") })
			p.post("second", "{}")
			p.begin(how)
			p.wait("drain", func() bool {
				_, body := p.get("/drain")
				return body == `{"draining":true,"activeRequests":0,"activeJobs":1}`
			})
			if code, _ := p.post("third", "{}"); code != 503 {
				t.Errorf("a webhook got %d during the drain", code)
			}
			if code, body := p.get("/healthz"); code != 503 || !strings.Contains(body, "draining") {
				t.Errorf("/healthz during the drain: %d %s", code, body)
			}
			write(t, dir+"/go", "")
			if code := p.ExitCode(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			for _, msg := range []string{"Shutdown signal received, starting graceful drain", "Graceful drain completed successfully"} {
				if _, ok := p.logged(msg); !ok {
					t.Errorf("not logged: %s", msg)
				}
			}
			if got := lines(t, dir+"/out"); len(got) != 1 || got[0] != "first" {
				t.Errorf("ran before the next revision: %v", got)
			}
			pool := openPool(t, db)
			if n := count(t, pool, `SELECT count(*) FROM river_job WHERE state = 'available' AND attempt = 0`); n != 1 {
				t.Errorf("%d jobs wait untouched", n)
			}
			if n := count(t, pool, `SELECT count(*) FROM app_instances`); n != 0 {
				t.Errorf("%d processes still listed", n)
			}
			start(t, "DATABASE_URL="+db, hook)
			testkit.Eventually(t, "second job", func() bool { return len(lines(t, dir+"/out")) == 2 })
		})
	}
}

// A job that outlasts both windows is killed with everything it started, and is
// available again at once.
func TestForcedExit(t *testing.T) {
	db := testkit.Database(t)
	dir := t.TempDir()
	// It ignores SIGTERM, as do its children.
	hook := hooksFile(t, fmt.Sprintf(`trap '' TERM
echo $$ >> %[1]s/pids
for i in 1 2 3; do (trap '' TERM; sh -c 'trap "" TERM; echo $$ >> %[1]s/pids; while :; do sleep 1; done') & done
while :; do sleep 1; done`, dir))
	p := start(t, "DATABASE_URL="+db, "SHUTDOWN_GRACE_MS=500", hook)
	p.post("long", "{}")
	p.wait("children", func() bool { return len(lines(t, dir+"/pids")) == 4 })
	p.Signal(syscall.SIGTERM)
	if code := p.ExitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, msg := range []string{
		"Drain timeout, extending grace window once",
		"Force exit after extended grace timeout, work abandoned",
		"Job cut off by the drain, back in the queue",
	} {
		entry, ok := p.logged(msg)
		if !ok {
			t.Errorf("not logged: %s", msg)
		} else if strings.HasPrefix(msg, "Job") && entry["job_id"] == nil {
			t.Errorf("%s: without its id", msg)
		}
	}
	for _, pid := range lines(t, dir+"/pids") {
		// A killed process may take a moment to end; one that was not killed
		// would run for ever.
		testkit.Eventually(t, "end of process "+pid, func() bool { return !runs(pid) })
	}
	pool := openPool(t, db)
	if n := count(t, pool, `SELECT count(*) FROM river_job WHERE state = 'available' AND scheduled_at <= now() AND attempt = 0`); n != 1 {
		t.Errorf("%d jobs available", n)
	}
}

// The running jobs of a killed app run again in a process that starts later.
func TestRescueAfterKill(t *testing.T) {
	db := testkit.Database(t)
	dir := t.TempDir()
	hook := hooksFile(t, fmt.Sprintf(`echo $SLUICE_DELIVERY_ID >> %[1]s/started; while [ ! -e %[1]s/go ]; do sleep 0.2; done; echo $SLUICE_DELIVERY_ID >> %[1]s/done`, dir))
	const jobs = 8
	p := start(t, "DATABASE_URL="+db, "MAX_WORKERS=50", hook)
	for i := range jobs {
		p.post(fmt.Sprint(i), "{}")
	}
	p.wait("running jobs", func() bool { return len(lines(t, dir+"/started")) == jobs })
	p.Kill()
	write(t, dir+"/go", "")
	began := time.Now()
	start(t, "DATABASE_URL="+db, "MAX_WORKERS=50", hook)
	pool := openPool(t, db)
	testkit.Eventually(t, "rescue", func() bool {
		return count(t, pool, `SELECT count(*) FROM river_job WHERE state = 'completed'`) == jobs
	})
	t.Logf("all %d jobs done %s after the kill", jobs, time.Since(began).Round(time.Millisecond))
	if got := lines(t, dir+"/done"); len(got) != jobs {
		t.Errorf("done: %v", got)
	}
}

// runs reports whether a process runs; a zombie does not.
func runs(pid string) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", pid).Output()
	return err == nil && !strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

func exists(file string) bool {
	_, err := os.Stat(filepath.Clean(file))
	return err == nil
}
