package buffer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"sluice/infra/testkit"
	"sluice/sidecar/internal/webhook"
)

func TestAppendKeepsEveryByte(t *testing.T) {
	s := open(t, testkit.Database(t))
	leases := lease(t, s)
	w := hook("github", 1)
	w.Body = bytes.Repeat([]byte{0, 0xff, '\n'}, 1000)
	w.Attempts = 1
	empty := hook("github", 2)
	empty.Body, empty.DeliveryID, empty.Event, empty.Verified = nil, "", "", ""
	for _, w := range []*webhook.Webhook{w, empty} {
		if r := mustAppend(t, s, w); r.ID != w.ID || r.Duplicate || r.QueueID == 0 {
			t.Fatalf("receipt %+v", r)
		}
	}
	rows := claim(t, s, leases, ClaimFilter{})
	if len(rows) != 2 {
		t.Fatalf("claimed %d rows", len(rows))
	}
	for i, want := range []*webhook.Webhook{w, empty} {
		r, got := rows[i], rows[i].Webhook
		if !bytes.Equal(got.Body, want.Body) || !bytes.Equal(got.Head, want.Head) {
			t.Errorf("row %d: bytes differ", i)
		}
		if got.ID != want.ID || got.Source != want.Source || got.DeliveryID != want.DeliveryID ||
			got.Event != want.Event || got.Lane != want.Lane || got.Verified != want.Verified ||
			got.ReceivedAt.Sub(want.ReceivedAt).Abs() > time.Microsecond {
			t.Errorf("row %d: got %+v, want %+v", i, got, *want)
		}
		if r.Attempt != want.Attempts+1 || r.Err != nil || r.BodySize != len(want.Body) {
			t.Errorf("row %d: attempt %d, size %d, err %v", i, r.Attempt, r.BodySize, r.Err)
		}
	}
}

// What a sender may put into its names is nothing that a text column must take.
func TestAppendTakesNamesThatTextCannotHold(t *testing.T) {
	s := open(t, testkit.Database(t))
	leases := lease(t, s)
	lanes := []string{"a\x00b", "a\xffb", strings.Repeat("é", 5000), strings.Repeat("é", 5001), "é"}
	var wait sync.WaitGroup
	for i, lane := range lanes {
		w := hook(lane, i)
		w.Event, w.DeliveryID = lane, lane
		wait.Go(func() {
			if _, err := s.Append(t.Context(), w); err != nil {
				t.Errorf("lane %.10q: %v", lane, err)
			}
		})
	}
	wait.Wait()
	backlog, err := s.Backlog(t.Context(), append(lanes, "other"), 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(backlog) != len(lanes) {
		t.Errorf("backlog has %d lanes, want %d", len(backlog), len(lanes))
	}
	if got := claim(t, s, leases, ClaimFilter{SkipLanes: lanes[:3]}); len(got) != 2 {
		t.Errorf("claimed %d rows beside the skipped lanes, want 2", len(got))
	}
	bad := hook("github", 1)
	bad.ID = "no uuid"
	if _, err := s.Append(t.Context(), bad); err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("a webhook without an id: %v", err)
	}
}

func TestDuplicates(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	leases := lease(t, s)
	first := hook("github", 1)
	kept := mustAppend(t, s, first)
	copied := func() *webhook.Webhook {
		w := *first
		w.ID = uuid.NewString()
		return &w
	}
	if r := mustAppend(t, s, copied()); !r.Duplicate || r.ID != first.ID || r.QueueID != kept.QueueID {
		t.Errorf("second copy: %+v", r)
	}
	if r, err := s.AppendAwaited(t.Context(), copied()); err != nil || !r.Duplicate || r.QueueID != kept.QueueID {
		t.Errorf("awaited copy: %+v, %v", r, err)
	}
	other := copied()
	other.Body = []byte("other body, same id")
	if r := mustAppend(t, s, other); r.Duplicate {
		t.Errorf("another body: %+v", r)
	}
	if n := query[int](t, db, `SELECT dup_count FROM webhook_queue WHERE id = $1`, kept.QueueID); n[0] != 2 {
		t.Errorf("dup_count %d, want 2", n[0])
	}
	nameless := hook("github", 3)
	nameless.DeliveryID = ""
	mustAppend(t, s, nameless)
	again := *nameless
	again.ID = uuid.NewString()
	if r := mustAppend(t, s, &again); r.Duplicate {
		t.Errorf("without a delivery id nothing is a copy: %+v", r)
	}
	rows := claim(t, s, leases, ClaimFilter{})
	if r := mustAppend(t, s, copied()); !r.Duplicate {
		t.Errorf("a copy of a row in hand: %+v", r)
	}
	settle(t, s, Outcome{QueueID: rows[0].QueueID, Result: Completed, Attempt: 1})
	if r := mustAppend(t, s, copied()); r.Duplicate {
		t.Errorf("a redelivery after completion: %+v", r)
	}
}

func settle(tb testing.TB, s *Store, outcomes ...Outcome) {
	tb.Helper()
	if err := s.Settle(tb.Context(), outcomes); err != nil {
		tb.Fatal(err)
	}
}

// Every copy in a batch is answered with the one row that keeps it.
func TestDuplicatesInOneBatch(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	const deliveries, copies = 20, 15
	// While the table is locked appends gather into batches.
	exec(t, db, `BEGIN; LOCK webhook_queue IN SHARE MODE`)
	var mu sync.Mutex
	got := map[int][]Receipt{}
	var wait sync.WaitGroup
	for n := range deliveries * copies {
		wait.Go(func() {
			r, err := s.Append(t.Context(), hook("lane", n%deliveries))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			got[n%deliveries] = append(got[n%deliveries], r)
		})
	}
	testkit.Eventually(t, "all appends but those being committed are queued", func() bool {
		s.queue.mu.Lock()
		defer s.queue.mu.Unlock()
		return len(s.queue.queued) >= deliveries*copies-2*maxBatchRows && len(s.queue.busy) > 0
	})
	exec(t, db, `COMMIT`)
	wait.Wait()
	for n, receipts := range got {
		firsts := 0
		for _, r := range receipts {
			if !r.Duplicate {
				firsts++
			}
			if r.QueueID != receipts[0].QueueID || r.ID != receipts[0].ID {
				t.Errorf("delivery %d: %+v and %+v", n, r, receipts[0])
			}
		}
		if firsts != 1 {
			t.Errorf("delivery %d: %d firsts", n, firsts)
		}
	}
	if n := query[int](t, db, `SELECT count(*) FROM webhook_queue`); n[0] != deliveries {
		t.Errorf("%d rows, want %d", n[0], deliveries)
	}
	if n := query[int](t, db, `SELECT sum(dup_count) FROM webhook_queue`); n[0] != deliveries*(copies-1) {
		t.Errorf("dup_count %d in all, want %d", n[0], deliveries*(copies-1))
	}
}

// A second copy waits while the first is being committed, two single rows are
// not written at once, and what is queued behind them is not held up.
func TestPick(t *testing.T) {
	q := newQueue()
	defer q.close()
	key := func(n byte) dedupeKey { return dedupeKey{n} }
	add := func(n byte, size int) *entry {
		e := &entry{key: key(n), size: size, done: make(chan answer, 1)}
		q.put(e)
		return e
	}
	add(1, 10)
	first := q.take()
	copied, big, second, small := add(1, 10), add(2, bigBody+1), add(3, bigBody+1), add(4, 10)
	for i, want := range []*entry{big, small} {
		if got := q.take(); len(got) != 1 || got[0] != want {
			t.Fatalf("take %d: %d entries, not the one expected", i, len(got))
		}
	}
	q.finish(first)
	if got := q.take(); len(got) != 1 || got[0] != copied {
		t.Error("the copy was not next")
	}
	q.finish([]*entry{big})
	if got := q.take(); len(got) != 1 || got[0] != second {
		t.Error("the second big one was not next")
	}
}

// A row that the server refuses fails alone.
func TestPoisonRow(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	exec(t, db, `ALTER TABLE webhook_queue ADD CHECK (event_name <> 'poison')`)
	exec(t, db, `BEGIN; LOCK webhook_queue IN SHARE MODE`)
	var wait sync.WaitGroup
	for n := range 300 {
		w := hook(fmt.Sprint("lane", n%7), n)
		if n%97 == 0 {
			w.Event = "poison"
		}
		wait.Go(func() {
			_, err := s.Append(t.Context(), w)
			if w.Event == "poison" && (err == nil || errors.Is(err, ErrUnavailable)) {
				t.Errorf("poison: %v", err)
			}
			if w.Event != "poison" && err != nil {
				t.Error(err)
			}
		})
	}
	testkit.Eventually(t, "batches form", func() bool {
		s.queue.mu.Lock()
		defer s.queue.mu.Unlock()
		return len(s.queue.busy) > 0 && len(s.queue.queued) > 10 || len(s.queue.busy) > 200
	})
	exec(t, db, `COMMIT`)
	wait.Wait()
	if n := query[int](t, db, `SELECT count(*) FROM webhook_queue`); n[0] != 296 {
		t.Errorf("%d rows, want 296", n[0])
	}
}

// Ids rise in the order of arrival, which is the order of a lane.
func TestAppendOrder(t *testing.T) {
	s := open(t, testkit.Database(t))
	var wait sync.WaitGroup
	for lane := range 8 {
		wait.Go(func() {
			var last int64
			for n := range 50 {
				r, err := s.Append(t.Context(), hook(fmt.Sprint("lane", lane), n))
				if err != nil {
					t.Error(err)
				}
				if r.QueueID <= last {
					t.Errorf("lane %d: id %d after %d", lane, r.QueueID, last)
				}
				last = r.QueueID
			}
		})
	}
	wait.Wait()
}

func TestAwaited(t *testing.T) {
	url := testkit.Database(t)
	s, other, db := open(t, url), open(t, url), sqlConn(t, url)
	before := mustAppend(t, s, hook("lane", 1))
	leases := lease(t, s)
	if err := other.Join(t.Context(), "draining"); err != nil {
		t.Fatal(err)
	}
	awaited, err := other.AppendAwaited(t.Context(), hook("lane", 2))
	if err != nil {
		t.Fatal(err)
	}
	behind := mustAppend(t, s, hook("lane", 3))
	beside := mustAppend(t, s, hook("beside", 4))
	if got := status(t, db, awaited.QueueID); got != "processing" {
		t.Errorf("awaited row is %s", got)
	}
	rows := claim(t, s, leases, ClaimFilter{})
	if got := ids(rows); !slices.Equal(got, []int64{before.QueueID, beside.QueueID}) {
		t.Errorf("claimed %v, want %v", got, []int64{before.QueueID, beside.QueueID})
	}
	inHand := ids(rows)
	// The operators' statement gives neither the awaited row nor those in hand away.
	exec(t, db, `UPDATE webhook_queue SET status = 'pending' WHERE status = 'processing'`)
	if got := claim(t, s, leases, ClaimFilter{InHand: inHand}); len(got) != 0 {
		t.Errorf("claimed %v after the operators' UPDATE", ids(got))
	}
	if err := s.SettleAwaited(t.Context(), awaited.QueueID, false, "not mine"); err != nil {
		t.Fatal(err)
	}
	if got := claim(t, s, leases, ClaimFilter{InHand: inHand}); len(got) != 0 {
		t.Errorf("claimed %v after another replica's failure", ids(got))
	}
	if err := other.SettleAwaited(t.Context(), awaited.QueueID, false, "app answered 500"); err != nil {
		t.Fatal(err)
	}
	rows = claim(t, s, leases, ClaimFilter{InHand: inHand})
	if got := ids(rows); !slices.Equal(got, []int64{awaited.QueueID, behind.QueueID}) {
		t.Fatalf("claimed %v after the failure, want %v", got, []int64{awaited.QueueID, behind.QueueID})
	}
	if rows[0].Attempt != 2 || rows[1].Attempt != 1 {
		t.Errorf("attempts %d and %d, want 2 and 1", rows[0].Attempt, rows[1].Attempt)
	}
	// A late success is a fact for whoever has the row now.
	if err := other.SettleAwaited(t.Context(), awaited.QueueID, true, ""); err != nil {
		t.Fatal(err)
	}
	settle(t, s, Outcome{QueueID: awaited.QueueID, Epoch: rows[0].Epoch, Result: Failed, Attempt: 2, Reason: "410"})
	if got := status(t, db, awaited.QueueID); got != "completed" {
		t.Errorf("after a late success the row is %s", got)
	}
}

func TestAppendWithoutServer(t *testing.T) {
	s := openOnly(t, "postgres://nobody:secret@127.0.0.1:1/none?sslmode=disable", func(c *Config) {
		c.AppendTimeout = 300 * time.Millisecond
	})
	start := time.Now()
	_, err := s.Append(t.Context(), hook("lane", 1))
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("append: %v", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), "secret") {
		t.Errorf("ping: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Append(ctx, hook("lane", 2)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("append for a sender that hung up: %v", err)
	}
}

func TestCloseAnswersWhatIsPending(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	exec(t, db, `BEGIN; LOCK webhook_queue IN SHARE MODE`)
	var wait sync.WaitGroup
	for n := range 20 {
		wait.Go(func() {
			if _, err := s.Append(t.Context(), hook("lane", n)); !errors.Is(err, ErrUnavailable) {
				t.Errorf("append: %v", err)
			}
		})
	}
	testkit.Eventually(t, "appends are under way", func() bool {
		s.queue.mu.Lock()
		defer s.queue.mu.Unlock()
		return len(s.queue.busy) > 0
	})
	s.Close()
	wait.Wait()
	if _, err := s.Append(t.Context(), hook("lane", 1)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("append after Close: %v", err)
	}
	exec(t, db, `COMMIT`)
}

func TestOpenHidesPassword(t *testing.T) {
	for _, url := range []string{
		"postgres://u:s3cr/et@host:5432/db",
		"postgres://u:s3cret@host:99999999/db",
		"postgres://u:s3cret@host/db?sslmode=bogus",
		"host=h password=s3cret sslmode=bogus",
		"://u:s3cret",
	} {
		_, err := Open(t.Context(), Config{URL: url, Instance: uuid.NewString()})
		if err == nil || strings.Contains(err.Error(), "s3cr") || strings.Contains(err.Error(), "et@") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := Open(t.Context(), Config{URL: "postgres://h/d", Instance: "x"}); err == nil {
		t.Error("an instance that is no UUID was taken")
	}
	if _, err := Open(t.Context(), Config{URL: "postgres://h/d", Instance: uuid.NewString(), Keys: [][]byte{{1}}}); err == nil {
		t.Error("a short key was taken")
	}
}

// The first batch that meets a copy is written a second time, in the way that
// takes one; so are the next ones at once.
func TestABatchMeetsActiveRows(t *testing.T) {
	t.Run("prepared", func(t *testing.T) { batchMeetsActiveRows(t, false) })
	t.Run("described", func(t *testing.T) { batchMeetsActiveRows(t, true) })
}

func batchMeetsActiveRows(t *testing.T, off bool) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	s.planned.off.Store(off)
	for n := range 3 {
		mustAppend(t, s, hook("lane", n))
	}
	first := query[int64](t, db, `SELECT id FROM webhook_queue ORDER BY id`)
	if s.copies.expected() {
		t.Fatal("copies are expected before one was met")
	}
	insert := func(from, to int) (rows []stored, batch []*entry) {
		t.Helper()
		for n := from; n < to; n++ {
			e, err := s.entry(hook("lane", n), false)
			if err != nil {
				t.Fatal(err)
			}
			batch = append(batch, e)
		}
		if err := s.pool.AcquireFunc(t.Context(), func(c *pgxpool.Conn) (err error) {
			rows, err = s.insertBatch(t.Context(), c, batch)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return rows, batch
	}
	insert(3, 5)
	if s.copies.expected() {
		t.Error("new rows were taken for copies")
	}
	for _, known := range []int{4, 6} { // of webhooks 1 to 6
		rows, batch := insert(1, 7)
		for i, row := range rows {
			if isCopy := row.sluiceID != batch[i].id; isCopy != (i < known) {
				t.Errorf("webhook %d is a copy: %v", i+1, isCopy)
			}
		}
		if rows[0].id != first[1] || rows[1].id != first[2] {
			t.Errorf("copies are answered with rows %d and %d, want %v", rows[0].id, rows[1].id, first[1:])
		}
		if !s.copies.expected() {
			t.Error("copies are not expected after one was met")
		}
	}
	got := query[string](t, db, `SELECT concat_ws(' ', delivery_id, dup_count) FROM webhook_queue ORDER BY id`)
	if len(got) != 7 || !strings.HasSuffix(got[0], " 0") || !strings.HasSuffix(got[1], " 2") || !strings.HasSuffix(got[6], " 1") {
		t.Errorf("rows %q", got)
	}
	s.copies.until.Store(time.Now().UnixNano())
	if s.copies.expected() {
		t.Error("copies are expected for ever")
	}
}
