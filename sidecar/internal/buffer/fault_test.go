package buffer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/infra/postgres"
	"sluice/infra/testkit"
	"sluice/sidecar/internal/webhook"
)

// ledger is what a crowd of senders was told.
type ledger struct {
	sync.Mutex
	acked   map[string]string // Sluice-Id sent -> Sluice-Id kept
	refused int
}

// crowd appends with n goroutines until stop is called or the test ends.
func crowd(t *testing.T, s *Store, n int) (l *ledger, stop func()) {
	t.Helper()
	l = &ledger{acked: map[string]string{}}
	var wait sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	stop = func() {
		cancel()
		wait.Wait()
	}
	t.Cleanup(stop)
	for i := range n {
		wait.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				w := hook(fmt.Sprint("lane", i), k)
				r, err := s.Append(context.Background(), w)
				l.Lock()
				switch {
				case err == nil:
					l.acked[w.ID] = r.ID
					if r.Duplicate || r.ID != w.ID {
						t.Errorf("%s was called a duplicate of %s", w.ID, r.ID)
					}
				case errors.Is(err, ErrUnavailable):
					l.refused++
				default:
					t.Error(err)
				}
				l.Unlock()
			}
		})
	}
	return l, stop
}

func (l *ledger) count() (acked, refused int) {
	l.Lock()
	defer l.Unlock()
	return len(l.acked), l.refused
}

// check compares the ledger with the table: what was acknowledged is there, once.
func (l *ledger) check(t *testing.T, url string) {
	t.Helper()
	db := sqlConn(t, url)
	have := map[string]int{}
	for _, id := range query[string](t, db, `SELECT sluice_id::text FROM webhook_queue`) {
		have[id]++
	}
	lost, twice := 0, 0
	for id := range l.acked {
		if have[id] == 0 {
			lost++
		}
		if have[id] > 1 {
			twice++
		}
	}
	acked, refused := l.count()
	t.Logf("acknowledged %d, refused %d, rows %d, lost %d, twice %d", acked, refused, len(have), lost, twice)
	if lost > 0 || twice > 0 || acked == 0 {
		t.Errorf("acknowledged %d, of which %d are lost and %d are there twice", acked, lost, twice)
	}
}

func ownServer(t *testing.T, o postgres.Options) *postgres.Server {
	t.Helper()
	server, err := postgres.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// The server crashes under load, three times: whatever was acknowledged is
// there after its recovery.
func TestServerCrash(t *testing.T) {
	server := ownServer(t, postgres.Options{})
	s := open(t, server.URL, func(c *Config) { c.AppendTimeout = 1500 * time.Millisecond })
	l, stop := crowd(t, s, 32)
	for range 3 {
		before, _ := l.count()
		testkit.Eventually(t, "appends go on", func() bool { n, _ := l.count(); return n > before+300 })
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		_, refused := l.count()
		testkit.Eventually(t, "appends are refused", func() bool { _, n := l.count(); return n > refused })
		if err := server.Restart(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := l.count()
	testkit.Eventually(t, "appends go on", func() bool { n, _ := l.count(); return n > before+300 })
	stop()
	l.check(t, server.URL)
}

// A storm of terminated backends: their clients see a lost connection, some of
// them between the commit and its answer.
func TestTerminatedBackends(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	l, stop := crowd(t, s, 32)
	killed := 0
	testkit.Eventually(t, "a hundred backends are terminated", func() bool {
		killed += query[int](t, db, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`)[0]
		return killed > 100
	})
	stop()
	l.check(t, url)
}

// A commit that did not wait for its standby is no success.
func TestUnconfirmedReplication(t *testing.T) {
	server := ownServer(t, postgres.Options{})
	s := open(t, server.URL, func(c *Config) { c.AppendTimeout = 1500 * time.Millisecond })
	mustAppend(t, s, hook("lane", 0)) // the connections are there
	db := sqlConn(t, server.URL)
	exec(t, db, `SET synchronous_commit = local`)
	exec(t, db, `ALTER SYSTEM SET synchronous_standby_names = 'nobody'`)
	exec(t, db, `SELECT pg_reload_conf()`)
	result := make(chan error, 1)
	var w *webhook.Webhook
	appends, cancelled := 0, 0
	appendNext := func() {
		appends++
		w = hook("lane", appends)
		go func() {
			_, err := s.Append(t.Context(), w)
			result <- err
		}()
	}
	appendNext()
	var err error
	testkit.Eventually(t, "an append ends after its wait was cancelled", func() bool {
		cancelled += query[int](t, db, `SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
			WHERE wait_event = 'SyncRep' AND pid <> pg_backend_pid()`)[0]
		select {
		case err = <-result:
		default:
			return false
		}
		if err == nil && cancelled == 0 { // the server's processes take up the setting one by one
			appendNext()
			return false
		}
		return true
	})
	if !errors.Is(err, ErrUnavailable) || cancelled == 0 {
		t.Errorf("append: %v after %d cancelled waits", err, cancelled)
	}
	exec(t, db, `ALTER SYSTEM RESET synchronous_standby_names`)
	exec(t, db, `SELECT pg_reload_conf()`)
	if r := mustAppend(t, s, w); r.ID != w.ID {
		t.Errorf("the sender's next try: %+v", r)
	}
}

// After a failover the old connections lead to a server that only reads.
func TestReadOnlyServer(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	mustAppend(t, s, hook("lane", 0))
	name := query[string](t, db, `SELECT current_database()`)[0]
	exec(t, db, `ALTER DATABASE `+name+` SET default_transaction_read_only = on`)
	s.pool.Reset()
	s.vital.Reset()
	if err := s.Ping(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("ping of a read-only server: %v", err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := s.Append(t.Context(), hook("lane", 1))
		result <- err
	}()
	testkit.Eventually(t, "the append meets the read-only server", func() bool {
		return s.pool.Stat().TotalConns() > 0
	})
	exec(t, db, `SET default_transaction_read_only = off`)
	exec(t, db, `ALTER DATABASE `+name+` RESET default_transaction_read_only`)
	if err := <-result; err != nil {
		t.Errorf("append across a failover: %v", err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// Two replicas with the same two deliveries in opposite order.
func TestDeadlockIsRetried(t *testing.T) {
	url := testkit.Database(t)
	slow := func(c *Config) { c.AppendTimeout = 10 * time.Second }
	a, db, watch := open(t, url, slow), sqlConn(t, url), sqlConn(t, url)
	one, two := hook("lane", 1), hook("lane", 2)
	exec(t, db, `BEGIN`)
	insert := `INSERT INTO webhook_queue (sluice_id, source, lane, bucket, headers, body, dedupe_key)
		VALUES (gen_random_uuid(), 's', 'l', 0, 'h', '', $1)`
	keyOne, _ := one.DedupeKey()
	keyTwo, _ := two.DedupeKey()
	exec(t, db, insert, keyTwo[:])
	var entries []*entry
	for _, w := range []*webhook.Webhook{one, two} {
		e, err := a.entry(w, false)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.commit(t.Context(), entries)
	}()
	testkit.Eventually(t, "the batch waits for the other transaction", func() bool {
		return query[int](t, watch, `SELECT count(*) FROM pg_locks WHERE NOT granted`)[0] > 0
	})
	// One of the two is the victim; both are content in the end.
	if _, err := db.Exec(t.Context(), insert+` ON CONFLICT DO NOTHING`, keyOne[:]); err != nil {
		exec(t, db, `ROLLBACK`)
	} else {
		exec(t, db, `COMMIT`)
	}
	<-done
	for _, e := range entries {
		if got := <-e.done; got.err != nil {
			t.Error(got.err)
		}
	}
}

// A server that stops answering costs a sender no more than the time it was
// promised, and no lock: the body is its owner's again.
func TestAppendIsBounded(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url, func(c *Config) { c.AppendTimeout = 600 * time.Millisecond }), sqlConn(t, url)
	exec(t, db, `BEGIN; LOCK webhook_queue IN ACCESS EXCLUSIVE MODE`)
	var wait sync.WaitGroup
	for n := range 50 {
		wait.Go(func() {
			start := time.Now()
			_, err := s.Append(t.Context(), hook("lane", n))
			if took := time.Since(start); !errors.Is(err, ErrUnavailable) || took > 1500*time.Millisecond {
				t.Errorf("after %v: %v", took, err)
			}
		})
	}
	wait.Wait()
	exec(t, db, `ROLLBACK`)
	// New connections may take longer than AppendTimeout on a busy machine.
	testkit.Eventually(t, "an append succeeds again", func() bool {
		_, err := s.Append(t.Context(), hook("lane", 100))
		return err == nil
	})
}

// A statement that takes too long while others are answered does not end the
// connections of the others: new ones would only make a slow server slower.
func TestASlowStatementKeepsThePool(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	pids := func() []int {
		return query[int](t, db, `SELECT pid FROM pg_stat_activity WHERE application_name = 'sluice' ORDER BY pid`)
	}
	if err := s.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	mustAppend(t, s, hook("lane", 1))
	before := pids()
	s.refresh(context.DeadlineExceeded, true, began)
	mustAppend(t, s, hook("lane", 2))
	if after := pids(); !slices.Equal(after, before) {
		t.Errorf("connections were %v, are %v", before, after)
	}
	// One that takes too long while nobody is answered does.
	s.refresh(context.DeadlineExceeded, true, time.Now())
	testkit.Eventually(t, "the connections are other ones", func() bool {
		mustAppend(t, s, hook("lane", 3))
		return !slices.Contains(pids(), before[0])
	})
}
