package buffer

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/infra/testkit"
)

// aged makes rows, one an hour for n hours until now; of each ten one is failed,
// one pending and the others completed.
func aged(t *testing.T, s *Store, url string, n int) {
	t.Helper()
	exec(t, sqlConn(t, url), `INSERT INTO webhook_queue (sluice_id, source, lane, bucket, headers, body, body_size, status, queued_at, processed_at)
		SELECT gen_random_uuid(), 's', 'l', 0, 'h', 'b', 1,
			CASE WHEN n % 10 = 0 THEN 'failed' WHEN n % 10 = 1 THEN 'pending' ELSE 'completed' END,
			clock_timestamp() - make_interval(hours => $1 - n), clock_timestamp() - make_interval(hours => $1 - n)
		FROM generate_series(1, $1::int) AS n`, n)
}

// Several replicas delete at the same time: each row once, no error, and nothing
// of another status or age.
func TestRetainTogether(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	aged(t, s, url, 5000)
	replicas := []*Store{s, open(t, url), open(t, url)}
	var completed, failed atomic.Int64
	var wait sync.WaitGroup
	for _, r := range replicas {
		wait.Go(func() {
			n, err := r.Retain(t.Context(), 1000*time.Hour)
			if err != nil {
				t.Error(err)
			}
			completed.Add(n)
			if n, err = r.RetainFailed(t.Context(), 2000*time.Hour); err != nil {
				t.Error(err)
			}
			failed.Add(n)
		})
	}
	wait.Wait()
	// 4000 rows are old enough to go if completed, 3000 if failed; one at the
	// edge of either age may go or stay.
	if n := completed.Load(); n < 3199 || n > 3201 {
		t.Errorf("deleted %d completed rows", n)
	}
	if n := failed.Load(); n < 299 || n > 301 {
		t.Errorf("deleted %d failed rows", n)
	}
	left := query[string](t, db, `SELECT status || count(*) FROM webhook_queue GROUP BY status ORDER BY 1`)
	want := fmt.Sprintf("[completed%d failed%d pending500]", 4000-completed.Load(), 500-failed.Load())
	if fmt.Sprint(left) != want {
		t.Errorf("left %v, want %s", left, want)
	}
}

// A page ends early where bodies are large, and the walk goes on behind it.
func TestRetainLargeBodies(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	aged(t, s, url, 1000)
	exec(t, db, `UPDATE webhook_queue SET body_size = CASE id % 3 WHEN 0 THEN 100 << 20 ELSE 25 << 20 END`)
	var last, n int64
	var young bool
	err := db.QueryRow(t.Context(), retainSQL, last, time.Hour, "completed").Scan(&last, &n, &young)
	if err != nil || last > 3 || young {
		t.Errorf("the first page ends at %d, young: %v, %v", last, young, err)
	}
	if _, err := s.Retain(t.Context(), time.Hour); err != nil {
		t.Error(err)
	}
	if n := query[int](t, db, `SELECT count(*) FROM webhook_queue WHERE status = 'completed' AND processed_at < clock_timestamp() - interval '1 h'`)[0]; n != 0 {
		t.Errorf("%d old rows left", n)
	}
}
