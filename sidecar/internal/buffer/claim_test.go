package buffer

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/infra/testkit"
	"sluice/sidecar/internal/share"
)

func TestClaimBounds(t *testing.T) {
	s := open(t, testkit.Database(t))
	leases := lease(t, s)
	if len(leases) != buckets {
		t.Fatalf("a lone replica holds %d buckets", len(leases))
	}
	var want []int64
	for n := range 30 {
		w := hook(fmt.Sprint("lane", n%3), n)
		w.Body = bytes.Repeat([]byte("x"), 1000)
		want = append(want, mustAppend(t, s, w).QueueID)
	}
	if got := ids(claim(t, s, leases, ClaimFilter{PerLane: 2})); !slices.Equal(got, want[:6]) {
		t.Errorf("two per lane: %v, want %v", got, want[:6])
	}
	// None of them is in hand: the answer was lost, and the same rows come again.
	rows := claim(t, s, leases, ClaimFilter{Limit: 4})
	if got := ids(rows); !slices.Equal(got, want[:4]) {
		t.Errorf("after a lost answer: %v, want %v", got, want[:4])
	}
	if got := ids(claim(t, s, leases, ClaimFilter{InHand: want[:4], SkipLanes: []string{"lane1"}, MaxBytes: 3500})); !slices.Equal(got, []int64{want[5], want[6], want[8]}) {
		t.Errorf("three bodies of two lanes: %v", got)
	}
	if got := ids(claim(t, s, leases, ClaimFilter{InHand: want[:10], MaxBytes: 1})); !slices.Equal(got, want[10:11]) {
		t.Errorf("one row at least: %v, want %v", got, want[10:11])
	}
	if got := ids(claim(t, s, leases, ClaimFilter{Limit: 100, PerLane: 100})); !slices.Equal(got, want) {
		t.Errorf("all: %v, want %v", got, want)
	}
}

func TestSettle(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	leases := lease(t, s)
	for n := range 5 {
		mustAppend(t, s, hook("lane", n))
	}
	rows := claim(t, s, leases, ClaimFilter{})
	out := func(i int, r Result, attempt int) Outcome {
		return Outcome{QueueID: rows[i].QueueID, Epoch: rows[i].Epoch, Result: r, Attempt: attempt, Reason: "because"}
	}
	outcomes := []Outcome{out(0, Completed, 1), out(1, Failed, 1), out(2, Tried, 1)}
	for range 2 { // a repeated settle changes nothing
		settle(t, s, outcomes...)
		got := query[string](t, db, `SELECT concat_ws(' ', status, attempts, last_error, processed_at IS NOT NULL) FROM webhook_queue ORDER BY id`)
		want := []string{"completed 1 t", "failed 1 because t", "pending 1 because f", "pending 0 f", "pending 0 f"}
		if !slices.Equal(got, want) {
			t.Fatalf("rows %q, want %q", got, want)
		}
	}
	again := claim(t, s, leases, ClaimFilter{})
	if len(again) != 3 || again[0].Attempt != 2 || again[1].Attempt != 1 {
		t.Errorf("claimed again: %+v", again)
	}
	// Of two outcomes for one row in one statement the later one counts.
	settle(t, s, out(2, Tried, 2), out(2, Tried, 3))
	if n := query[int](t, db, `SELECT attempts FROM webhook_queue WHERE id = $1`, rows[2].QueueID); n[0] != 3 {
		t.Errorf("attempts %d, want 3", n[0])
	}
	stats, err := s.Stats(t.Context())
	if err != nil || stats.Pending != 3 || stats.Processing != 0 || stats.Failed != 1 || stats.OldestPending <= 0 {
		t.Errorf("stats %+v, %v", stats, err)
	}
}

// A holder that lost its lease claims nothing and fails nothing, but completes.
func TestZombie(t *testing.T) {
	url := testkit.Database(t)
	zombie, heir, db := open(t, url), open(t, url), sqlConn(t, url)
	old := lease(t, zombie)
	first, second := mustAppend(t, zombie, hook("lane", 1)), mustAppend(t, zombie, hook("lane", 2))
	third := mustAppend(t, zombie, hook("lane", 3))
	rows := claim(t, zombie, old, ClaimFilter{})
	exec(t, db, `UPDATE webhook_leases SET expires_at = clock_timestamp() - interval '1 s'`)
	if got := claim(t, zombie, old, ClaimFilter{}); len(got) != 0 {
		t.Errorf("claimed %v under leases that have run out", ids(got))
	}
	exec(t, db, `UPDATE webhook_replicas SET seen_at = seen_at - interval '1 min'`)
	leases := lease(t, heir)
	if len(leases) != buckets {
		t.Fatalf("the heir holds %d buckets", len(leases))
	}
	if got := claim(t, zombie, old, ClaimFilter{}); len(got) != 0 {
		t.Errorf("the zombie claimed %v", ids(got))
	}
	taken := claim(t, heir, leases, ClaimFilter{})
	if len(taken) != 3 || taken[0].Epoch <= rows[0].Epoch || taken[0].Attempt != 1 || !leases[0].Lapsed {
		t.Fatalf("the heir claimed %+v", taken)
	}
	settle(t, zombie,
		Outcome{QueueID: first.QueueID, Epoch: rows[0].Epoch, Result: Completed, Attempt: 1},
		Outcome{QueueID: second.QueueID, Epoch: rows[1].Epoch, Result: Failed, Attempt: 1},
		Outcome{QueueID: third.QueueID, Epoch: rows[2].Epoch, Result: Tried, Attempt: 9})
	for id, want := range map[int64]string{first.QueueID: "completed", second.QueueID: "pending", third.QueueID: "pending"} {
		if got := status(t, db, id); got != want {
			t.Errorf("row %d is %s, want %s", id, got, want)
		}
	}
	if n := query[int](t, db, `SELECT attempts FROM webhook_queue WHERE id = $1`, third.QueueID); n[0] != 0 {
		t.Errorf("the zombie wrote %d attempts", n[0])
	}
	// A late success also corrects a failure.
	settle(t, heir, Outcome{QueueID: second.QueueID, Epoch: taken[1].Epoch, Result: Failed, Attempt: 2})
	settle(t, zombie, Outcome{QueueID: second.QueueID, Result: Completed, Attempt: 1})
	if got := status(t, db, second.QueueID); got != "completed" {
		t.Errorf("a failed row with a late success is %s", got)
	}
	// What was read before another took the lease does not take it back.
	conn, err := zombie.vital.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	stale := share.Bucket{Number: leases[0].Bucket, Epoch: leases[0].Epoch, Free: true}
	if got, err := zombie.takeLeases(t.Context(), conn, []share.Bucket{stale}); err != nil || len(got) != 0 {
		t.Errorf("the zombie took %v, %v", got, err)
	}
	// Trust ends by itself, before the database's lease does.
	gone := slices.Clone(leases)
	for i := range gone {
		gone[i].Until = time.Now()
	}
	if got := claim(t, heir, gone, ClaimFilter{}); len(got) != 0 {
		t.Errorf("claimed %v beyond the trust", ids(got))
	}
}

// The operators' UPDATE in the middle of a replay with appends all around it:
// every row once, lanes in order, none left.
func TestReplayUnderAppendsAndOperators(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	leases := lease(t, s)
	const lanes, rows = 6, 60
	var appended atomic.Int32
	var wait sync.WaitGroup
	for lane := range lanes {
		wait.Go(func() {
			for n := range rows {
				if _, err := s.Append(t.Context(), hook(fmt.Sprint("lane", lane), n)); err != nil {
					t.Error(err)
				}
				appended.Add(1)
			}
		})
	}
	next := map[string]int{}
	seen := map[int64]bool{}
	var inHand []int64
	testkit.Eventually(t, "all rows are delivered", func() bool {
		got := claim(t, s, leases, ClaimFilter{InHand: inHand, Limit: 40, PerLane: 10})
		for _, r := range got {
			if want := fmt.Sprintf("%s-%d", r.Webhook.Lane, next[r.Webhook.Lane]); r.Webhook.DeliveryID != want {
				t.Errorf("got %s, want %s", r.Webhook.DeliveryID, want)
			}
			next[r.Webhook.Lane]++
			if seen[r.QueueID] {
				t.Errorf("row %d twice", r.QueueID)
			}
			seen[r.QueueID] = true
			inHand = append(inHand, r.QueueID)
		}
		exec(t, db, `UPDATE webhook_queue SET status = 'pending' WHERE status = 'processing'`)
		if half := len(inHand) / 2; half > 0 { // the other half stays in hand for a round
			var done []Outcome
			for _, id := range inHand[:half] {
				done = append(done, Outcome{QueueID: id, Result: Completed, Attempt: 1})
			}
			settle(t, s, done...)
			inHand = slices.Clone(inHand[half:])
		} else if len(inHand) == 1 {
			settle(t, s, Outcome{QueueID: inHand[0], Result: Completed, Attempt: 1})
			inHand = nil
		}
		return len(seen) == lanes*rows && len(inHand) == 0
	})
	wait.Wait()
	if n := query[int](t, db, `SELECT count(*) FROM webhook_queue WHERE status <> 'completed'`); n[0] != 0 {
		t.Errorf("%d rows left", n[0])
	}
	if lanes, _, err := s.ActiveLanes(t.Context(), nil, 10, 10); err != nil || len(lanes) != 0 {
		t.Errorf("active lanes %v, %v", lanes, err)
	}
}

func TestUnreadableRows(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	big := bytes.Repeat([]byte("0123456789abcdef"), 25<<20/16)
	for n := range 6 {
		w := hook("lane", n)
		switch {
		case n == 3:
			w.Body = big
		case n > 3:
			w.Body = big[:bigBody+1]
		}
		mustAppend(t, s, w)
	}
	exec(t, db, `UPDATE webhook_queue SET headers = NULL WHERE id = 1`)
	exec(t, db, `UPDATE webhook_queue SET body = NULL WHERE id = 2`)
	exec(t, db, `UPDATE webhook_queue SET body = NULL WHERE id = 5`)
	leases := lease(t, s)
	rows := claim(t, s, leases, ClaimFilter{})
	if len(rows) != 6 || rows[0].Err == nil || rows[1].Err == nil || rows[2].Err != nil || rows[3].Err != nil || rows[4].Err == nil {
		t.Fatalf("rows %v", ids(rows))
	}
	if rows[3].Webhook.Body != nil {
		t.Error("a big body came with its row")
	}
	if err := s.LoadBody(t.Context(), &rows[3]); err != nil || !bytes.Equal(rows[3].Webhook.Body, big) {
		t.Errorf("load body: %v, %d bytes", err, len(rows[3].Webhook.Body))
	}
	exec(t, db, `UPDATE webhook_queue SET body = substring(body FOR 100) WHERE id = 6`)
	if err := s.LoadBody(t.Context(), &rows[5]); err == nil || rows[5].Err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("a body cut off: %v", err)
	}
	var failed []Outcome
	for _, i := range []int{0, 1, 4, 5} {
		failed = append(failed, Outcome{QueueID: rows[i].QueueID, Epoch: rows[i].Epoch, Result: Failed, Attempt: 1, Reason: rows[i].Err.Error()})
	}
	settle(t, s, failed...)
	if got := claim(t, s, leases, ClaimFilter{}); len(got) != 2 {
		t.Errorf("%d rows left in the lane, want 2", len(got))
	}
}
