package buffer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"sluice/infra/testkit"
	"sluice/sidecar/internal/webhook"
)

// An awaited row whose insert's answer was lost has nobody who waits for it. It
// would keep its lane shut for as long as this replica lives.
func TestFreeAwaited(t *testing.T) {
	url := testkit.Database(t)
	s, other, db := open(t, url), open(t, url), sqlConn(t, url)
	leases := lease(t, s)
	if err := other.Join(t.Context(), "passing"); err != nil {
		t.Fatal(err)
	}
	var mine, theirs, lost = hook("a", 1), hook("b", 2), hook("c", 3)
	for _, w := range []struct {
		store *Store
		hook  int
	}{{s, 0}, {other, 1}, {s, 2}} {
		if _, err := w.store.AppendAwaited(t.Context(), []*webhook.Webhook{mine, theirs, lost}[w.hook]); err != nil {
			t.Fatal(err)
		}
	}
	freed, err := s.FreeAwaited(t.Context(), func(id string) bool { return id == mine.ID })
	if err != nil || freed != 1 {
		t.Fatalf("freed %d, %v", freed, err)
	}
	got := query[string](t, db, `SELECT lane || ' ' || status || ' ' || (awaited_by IS NULL) FROM webhook_queue ORDER BY id`)
	if want := []string{"a processing false", "b processing false", "c pending true"}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	if rows := claim(t, s, leases, ClaimFilter{}); len(rows) != 1 || rows[0].Webhook.ID != lost.ID || rows[0].Attempt != 2 {
		t.Errorf("claimed %v", ids(rows))
	}
	if freed, err := s.FreeAwaited(t.Context(), func(string) bool { return false }); err != nil || freed != 1 {
		t.Errorf("with nothing registered: freed %d, %v", freed, err)
	}
}

// A thousand late webhooks are written and settled in far fewer statements than
// there are of them, and no append starves beside them.
func TestLateStorm(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	if err := s.Join(t.Context(), "passing"); err != nil {
		t.Fatal(err)
	}
	began := query[int64](t, db, `SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()`)[0]
	const n = 1000
	var wait sync.WaitGroup
	var appended atomic.Int64
	for i := range n {
		wait.Go(func() {
			r, err := s.AppendAwaited(t.Context(), hook(fmt.Sprint("late", i%7), i))
			if err != nil {
				t.Error(err)
				return
			}
			appended.Add(1)
			if err := s.SettleAwaited(t.Context(), r.QueueID, i%2 == 0, "app answered late and not with 2xx"); err != nil {
				t.Error(err)
			}
		})
		wait.Go(func() { mustAppend(t, s, hook("plain", i)) })
	}
	wait.Wait()
	counts := query[string](t, db, `SELECT status || ' ' || count(*) || ' ' || count(awaited_by) FROM webhook_queue WHERE lane LIKE 'late%' GROUP BY status ORDER BY status`)
	if want := []string{"completed 500 0", "pending 500 0"}; !slices.Equal(counts, want) {
		t.Errorf("late rows %q, want %q", counts, want)
	}
	testkit.Eventually(t, "the server has counted", func() bool {
		return query[int64](t, db, `SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()`)[0] > began
	})
	if commits := query[int64](t, db, `SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()`)[0] - began; commits > n {
		t.Errorf("%d commits for %d webhooks, half of them late", commits, 2*n)
	}
}

// With every connection for claims and counts in use by statements that do not
// end, webhooks are still stored, and nobody takes the pool's connections away.
func TestAppendsKeepAConnection(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url, func(c *Config) { c.AppendTimeout = 20 * time.Second }), sqlConn(t, url)
	mustAppend(t, s, hook("lane", 0))
	locker := sqlConn(t, url) // within a transaction pg_stat_activity stands still
	exec(t, locker, `BEGIN; LOCK webhook_leases`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stuck sync.WaitGroup
	for range 8 {
		stuck.Go(func() {
			_, _, _ = s.Claim(ctx, []Lease{{Bucket: 1, Epoch: 1, Until: time.Now().Add(time.Minute)}}, ClaimFilter{})
		})
	}
	testkit.Eventually(t, "claims wait for the lock", func() bool {
		return query[int](t, db, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%held AS MATERIALIZED%'`)[0] >= 3
	})
	for n := range 20 {
		mustAppend(t, s, hook("lane", n+1))
	}
	exec(t, locker, `COMMIT`)
	cancel()
	stuck.Wait()
}

// A commit's answer is lost, and before the next try the row is delivered: no
// active row has its key any more, and still it is not written twice.
func TestARowThatIsDoneIsNotWrittenAgain(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	var batch []*entry
	for n := range 3 {
		e, err := s.entry(hook("lane", n), false)
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, e)
	}
	var first, second []stored
	err := s.pool.AcquireFunc(t.Context(), func(c *pgxpool.Conn) (err error) {
		if first, err = s.insert(t.Context(), c, batch[:2], false); err != nil {
			return err
		}
		settle(t, s, Outcome{QueueID: first[0].id, Result: Completed, Attempt: 1})
		second, err = s.insert(t.Context(), c, batch, true)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range second {
		if row.sluiceID != batch[i].id || i < 2 && row != first[i] {
			t.Errorf("webhook %d is kept by %+v, first by %+v", i, row, first)
		}
	}
	got := query[string](t, db, `SELECT delivery_id || ' ' || status FROM webhook_queue ORDER BY id`)
	if want := []string{"lane-0 completed", "lane-1 pending", "lane-2 pending"}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
}
