package buffer

import (
	"testing"

	"sluice/infra/testkit"
)

// A queue of several pages is counted as one: nothing twice, nothing left out, at
// the page's edge neither.
func TestStatsOfManyPages(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	const rows = 2*countPage + 1
	fill(t, db, "l", rows, 3, []byte("12345"))
	exec(t, db, `UPDATE webhook_queue SET status = 'processing' WHERE id % 10 = 0`)
	exec(t, db, `UPDATE webhook_queue SET status = 'failed' WHERE id % 10 = 1`)
	exec(t, db, `UPDATE webhook_queue SET verified = 'x' WHERE id % 10 > 4`)
	want := query[int64](t, db, `SELECT unnest(ARRAY[
		count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status = 'processing'), count(*) FILTER (WHERE status = 'failed'),
		sum(6) FILTER (WHERE status <> 'failed'), sum(6) FILTER (WHERE status <> 'failed' AND verified IS NULL)]::bigint[]) FROM webhook_queue`)
	st, err := s.Stats(t.Context())
	if err != nil || st.Pending != want[0] || st.Processing != want[1] || st.Failed != want[2] || st.Bytes != want[3] || st.UnverifiedBytes != want[4] || st.OldestPending <= 0 {
		t.Errorf("stats %+v, %v, want %v", st, err, want)
	}
	exec(t, db, `DELETE FROM webhook_queue WHERE id > (SELECT id FROM webhook_queue WHERE status = 'pending' ORDER BY id OFFSET $1 - 1 LIMIT 1)`, 100)
	exec(t, db, `DELETE FROM webhook_queue WHERE status <> 'pending'`)
	if st, err := s.Stats(t.Context()); err != nil || st.Pending != 100 || st.Processing+st.Failed != 0 {
		t.Errorf("stats %+v, %v, want 100 pending", st, err)
	}
}

// What this process stores and ends is told at once, what others insert by the
// sequence.
func TestFlow(t *testing.T) {
	url := testkit.Database(t)
	s, other := open(t, url), open(t, url)
	leases := lease(t, s)
	before, err := s.Inserted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		mustAppend(t, s, hook("lane", n))
		mustAppend(t, s, hook("lane", n)) // a copy
	}
	open := hook("lane", 9)
	open.Verified = ""
	mustAppend(t, s, open)
	for n := range 3 {
		mustAppend(t, other, hook("other", n))
	}
	rows := claim(t, s, leases, ClaimFilter{})
	settle(t, s, Outcome{QueueID: rows[0].QueueID, Result: Completed, Attempt: 1}, Outcome{QueueID: rows[1].QueueID, Epoch: rows[1].Epoch, Result: Failed},
		Outcome{QueueID: rows[2].QueueID, Epoch: rows[2].Epoch, Result: Tried})
	size := int64(len(open.Head) + len(open.Body))
	if f := s.Flow(); f != (Flow{Rows: 6, Bytes: 6 * size, UnverifiedBytes: size, Ended: 2}) {
		t.Errorf("flow is %+v, a webhook has %d bytes", f, size)
	}
	if after, err := s.Inserted(t.Context()); err != nil || after-before < 9 {
		t.Errorf("inserted rose by %d, %v, want 9 at least", after-before, err)
	}
}
