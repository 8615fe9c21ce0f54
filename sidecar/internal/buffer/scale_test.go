package buffer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"sluice/infra/testkit"
)

// With 100,000 rows of a skipped lane, 60,000 completed ones and a few of
// another lane, no statement of the replay reads through the crowd. What is
// counted is pages touched, which no busy machine changes.
func TestScale(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a table")
	}
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	exec(t, db, `INSERT INTO webhook_queue (sluice_id, source, lane, bucket, headers, body, status, processed_at)
		SELECT gen_random_uuid(), 's', 'old', 3, 'h', 'b', 'completed', clock_timestamp() FROM generate_series(1, 60000)`)
	fill(t, db, "stuck", 100_000, 1, []byte("{}"))
	fill(t, db, "busy", 500, 50, []byte("{}"))
	for _, analyzed := range []bool{false, true} { // statistics come late to a table that fills at once
		if analyzed {
			exec(t, db, `VACUUM (ANALYZE) webhook_queue`)
		}
		leases := lease(t, s)
		var in []int16
		var epochs []int64
		for _, l := range leases {
			in, epochs = append(in, int16(l.Bucket)), append(epochs, l.Epoch)
		}
		stuck, _ := laneKey("stuck0")
		pages := touched(t, db, claimSQL, in, epochs, make([]*string, len(in)), s.instance, []string{stuck}, []int64{}, 100, 32, 8<<20, 300, bigBody)
		t.Logf("analyzed %v: claim touches %d pages", analyzed, pages)
		if pages > 6000 {
			t.Errorf("analyzed %v: claim of 100 rows touches %d pages", analyzed, pages)
		}
		key, bucket := laneKey("stuck0")
		pages = touched(t, db, backlogSQL, []string{key, "none"}, []int16{bucket, 3}, 10)
		t.Logf("analyzed %v: backlog touches %d pages", analyzed, pages)
		if pages > 100 {
			t.Errorf("analyzed %v: backlog of two lanes touches %d pages", analyzed, pages)
		}
		pages = touched(t, db, activeLanesSQL, int16(-1), "", 100, 10)
		t.Logf("analyzed %v: active lanes touch %d pages", analyzed, pages)
		if pages > 3000 {
			t.Errorf("analyzed %v: 51 active lanes touch %d pages", analyzed, pages)
		}
		some := query[int64](t, db, `SELECT id FROM webhook_queue WHERE status = 'pending' ORDER BY id DESC LIMIT 50`)
		pages = touched(t, db, completedSQL, some, make([]int64, 50), make([]int32, 50), make([]string, 50), make([]bool, 50))
		t.Logf("analyzed %v: settling 50 touches %d pages", analyzed, pages)
		if pages > 3000 {
			t.Errorf("analyzed %v: settling 50 rows touches %d pages", analyzed, pages)
		}
		start := time.Now()
		if st, err := s.Stats(t.Context()); err != nil || st.Pending+st.Processing < 100_000 {
			t.Errorf("stats %+v, %v", st, err)
		}
		t.Logf("analyzed %v: stats took %v", analyzed, time.Since(start))
		rows := claim(t, s, leases, ClaimFilter{SkipLanes: []string{"stuck0"}})
		if len(rows) != 100 {
			t.Errorf("claimed %d rows", len(rows))
		}
	}
	lanes, _, err := s.ActiveLanes(t.Context(), nil, 100, 7)
	if err != nil || len(lanes) != 51 || lanes["stuck0"] != 7 {
		t.Errorf("%d active lanes, %v", len(lanes), err)
	}
}

// touched runs a statement, undoes it and returns how many pages it read.
func touched(t *testing.T, db *pgx.Conn, sql string, args ...any) int {
	t.Helper()
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	rows, err := tx.Query(t.Context(), "EXPLAIN (ANALYZE, BUFFERS, TIMING off) "+sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(plan, func(l string) bool { return strings.Contains(l, "Seq Scan on webhook_queue") }) {
		t.Errorf("reads the whole table:\n%s", strings.Join(plan, "\n"))
	}
	for _, line := range plan { // the first counts the whole statement
		if _, counts, ok := strings.Cut(line, "Buffers: "); ok {
			pages := 0
			for _, field := range strings.Fields(counts) {
				var n int
				if _, err := fmt.Sscanf(strings.TrimPrefix(strings.TrimPrefix(field, "hit="), "read="), "%d", &n); err == nil && !strings.Contains(field, "dirtied") && !strings.Contains(field, "written") {
					pages += n
				}
			}
			return pages
		}
	}
	t.Fatalf("no buffers in the plan:\n%s", strings.Join(plan, "\n"))
	return 0
}
