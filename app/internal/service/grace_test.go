package service_test

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/infra/postgres"
	"sluice/infra/steady"
	"sluice/infra/testkit"
)

// An idle app exits with 0 however short the platform's grace is.
func TestCleanEndWithAnyGrace(t *testing.T) {
	db := testkit.Database(t)
	for _, grace := range []int{1, 5, 330} {
		p := start(t, "DATABASE_URL="+db, fmt.Sprint("TERMINATION_GRACE_SECONDS=", grace))
		stalled := steady.Watch()
		p.Signal(syscall.SIGTERM)
		code := p.ExitCode()
		if d := stalled(); d > time.Duration(grace)*time.Second/20 {
			t.Logf("grace %d s: the machine stalled for %s, so the test shows nothing", grace, d)
		} else if code != 0 {
			t.Errorf("grace %d s: exit code %d", grace, code)
		}
	}
}

// PostgreSQL freezes. The app ends within the platform's grace, with and without a
// running job, and exits with 1.
func TestEndWithFrozenPostgres(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	server := testkit.Server(t, postgres.Options{})
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	dir := t.TempDir()
	hook := hooksFile(t, fmt.Sprintf(`echo . >> %s/running; while :; do sleep 0.1; done`, dir))
	type ending struct {
		*proc
		grace time.Duration
	}
	var apps []ending
	busy := 0
	for _, seconds := range []int{1, 5, 10, 30} {
		for _, job := range []bool{false, true} {
			fresh, _, err := postgres.Fresh(ctx, u.String())
			if err != nil {
				t.Fatal(err)
			}
			p := start(t, "DATABASE_URL="+fresh, "DATABASE_MAX_CONNS=4", hook, fmt.Sprint("TERMINATION_GRACE_SECONDS=", seconds))
			if job {
				busy++
				p.post("long", "{}")
			}
			apps = append(apps, ending{p, time.Duration(seconds) * time.Second})
		}
	}
	testkit.Eventually(t, "running jobs", func() bool { return len(lines(t, dir+"/running")) == busy })
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	for _, p := range apps {
		all.Go(func() {
			stalled := steady.Watch()
			began := time.Now()
			p.Signal(syscall.SIGTERM)
			select {
			case <-p.Ended:
			case <-time.After(testkit.Patience):
				t.Errorf("grace %s: the app still runs", p.grace)
				return
			}
			took := time.Since(began)
			if d := stalled(); d > p.grace/20 {
				t.Logf("grace %s: the machine stalled for %s, so the test shows nothing", p.grace, d)
				return
			}
			if took >= p.grace {
				t.Errorf("grace %s: ended after %s", p.grace, took)
			}
			if code := p.Cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("grace %s: exit code %d", p.grace, code)
			}
		})
	}
	all.Wait()
	if err := server.Thaw(); err != nil {
		t.Error(err)
	}
}
