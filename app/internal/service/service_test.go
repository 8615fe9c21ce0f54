package service_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"sluice/infra/testkit"
)

func TestWebhookRunsItsJob(t *testing.T) {
	db := testkit.Database(t)
	out := filepath.Join(t.TempDir(), "out")
	p := start(t, "DATABASE_URL="+db, hooksFile(t, `echo "$SLUICE_ID $SLUICE_SOURCE $SLUICE_DELIVERY_ID $SLUICE_EVENT $SLUICE_ATTEMPT $(cat)" >> `+out))
	code, body := p.post("d1", `{"hello":1}`, "Sluice-Id", "id-1")
	if code != http.StatusAccepted || body != `{"status":"accepted","id":"id-1","jobs":1}` {
		t.Fatalf("answered %d %s", code, body)
	}
	testkit.Eventually(t, "job", func() bool { return len(lines(t, out)) > 0 })
	if got := strings.Join(lines(t, out), " "); got != `id-1 github d1 push 1 {"hello":1}` {
		t.Errorf("the command saw %q", got)
	}
	p.waitLogged("Job execution started")
	if code, body := p.get("/healthz"); code != 200 || body != `{"status":"ok","db":"connected"}` {
		t.Errorf("/healthz: %d %s", code, body)
	}
	if code, body := p.get("/readiness"); code != 200 || !strings.Contains(body, "degraded") {
		t.Errorf("/readiness without GitHub: %d %s", code, body)
	}
	if code, _ := p.post("d2", "x", "X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64)); code != http.StatusUnauthorized {
		t.Errorf("a wrong signature got %d", code)
	}
	p.Signal(syscall.SIGTERM)
	if code := p.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Webhooks with the same Sluice-Id, sent many times at once and again after the job
// is done, run one job.
func TestOncePerSluiceID(t *testing.T) {
	db := testkit.Database(t)
	out := filepath.Join(t.TempDir(), "out")
	env := []string{"DATABASE_URL=" + db, hooksFile(t, `echo $SLUICE_ID >> `+out)}
	apps := []*proc{start(t, env...), start(t, env...)}
	pool := openPool(t, db)
	deliver := func() {
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				id := fmt.Sprint("id-", i%5)
				if code, body := apps[i%2].post(id, "{}", "Sluice-Id", id); code != http.StatusAccepted {
					t.Errorf("answered %d %s", code, body)
				}
			})
		}
		wg.Wait()
	}
	done := func() bool {
		return count(t, pool, `SELECT count(*) FROM river_job WHERE state = 'completed'`) == 5
	}
	deliver()
	testkit.Eventually(t, "end of jobs", done)
	if _, err := pool.Exec(t.Context(), `DELETE FROM river_job`); err != nil { // as River does later
		t.Fatal(err)
	}
	deliver()
	if n := count(t, pool, `SELECT count(*) FROM river_job`); n != 0 {
		t.Errorf("%d jobs for webhooks that were done", n)
	}
	if got := lines(t, out); len(got) != 5 {
		t.Errorf("ran %d times: %v", len(got), got)
	}
}

// Jobs have the order in which their webhooks were answered.
func TestJobsInOrderOfAnswers(t *testing.T) {
	db := testkit.Database(t)
	p := start(t, "DATABASE_URL="+db, "MAX_WORKERS=1")
	var wg sync.WaitGroup
	for sender := range 8 {
		wg.Go(func() {
			for i := range 40 {
				if code, body := p.post(fmt.Sprintf("%d-%03d", sender, i), "{}"); code != http.StatusAccepted {
					t.Errorf("answered %d %s", code, body)
				}
			}
		})
	}
	wg.Wait()
	pool := openPool(t, db)
	rows, err := pool.Query(t.Context(), `SELECT args->>'delivery_id' FROM river_job ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) != 320 {
		t.Fatalf("%d jobs", len(ids))
	}
	last := map[string]string{}
	for _, id := range ids {
		sender, n, _ := strings.Cut(id, "-")
		if n <= last[sender] {
			t.Errorf("sender %s: %s came after %s", sender, n, last[sender])
		}
		last[sender] = n
	}
}

func TestLargeBody(t *testing.T) {
	db := testkit.Database(t)
	out := filepath.Join(t.TempDir(), "out")
	p := start(t, "DATABASE_URL="+db, hooksFile(t, `sha256sum >> `+out))
	body := bytes.Repeat([]byte("0123456789abcdef\x00\xff"), 25<<20/18+1)[:25<<20]
	sum := sha256.Sum256(body)
	if code, text := p.postBytes("large", body); code != http.StatusAccepted {
		t.Fatalf("answered %d %s", code, text)
	}
	testkit.Eventually(t, "job", func() bool { return len(lines(t, out)) > 1 })
	if got := lines(t, out)[0]; got != hex.EncodeToString(sum[:]) {
		t.Errorf("the command saw another body: %s", got)
	}
	if code, _ := p.postBytes("larger", append(body, 'x')); code != http.StatusRequestEntityTooLarge {
		t.Errorf("one byte more got %d", code)
	}
}

func TestTwoRevisionsStartAtOnce(t *testing.T) {
	db := testkit.Database(t)
	apps := []*proc{launch(t, "DATABASE_URL="+db), launch(t, "DATABASE_URL="+db), launch(t, "DATABASE_URL="+db)}
	for _, p := range apps {
		p.wait("health", func() bool { code, _ := p.get("/healthz"); return code == 200 })
		if e, failed := p.logged("Start failed, trying again"); failed {
			t.Errorf("a start failed: %v", e)
		}
	}
}

func TestDatabaseAway(t *testing.T) {
	p := launch(t, "DATABASE_URL=postgres://nobody@127.0.0.1:1/none")
	if code, body := p.get("/healthz"); code != 503 || body != `{"status":"unhealthy","db":"unreachable"}` {
		t.Errorf("/healthz: %d %s", code, body)
	}
	p.waitLogged("Health check failed: PostgreSQL unreachable")
	if code, _ := p.post("d", "{}"); code != 503 {
		t.Errorf("a webhook got %d", code)
	}
	p.Signal(syscall.SIGTERM)
	p.ExitCode()
}
