package buffer

import (
	"fmt"
	"slices"
	"testing"

	"sluice/infra/testkit"
)

// dead makes failed rows, 600 of them alike in their key, and two active ones
// with the same key as some: as versions before this one left them.
func dead(t *testing.T, url string) {
	t.Helper()
	exec(t, sqlConn(t, url), `INSERT INTO webhook_queue
		(sluice_id, source, lane, bucket, headers, body, status, attempts, dedupe_key, suspect, last_error, processed_at)
		SELECT gen_random_uuid(), CASE WHEN n % 2 = 0 THEN 'github' ELSE 'slack' END, 'lane' || n % 7, 0, 'h', 'b',
			CASE WHEN n > 1200 THEN 'pending' ELSE 'failed' END, 10, int4send(CASE WHEN n > 1200 THEN n ELSE 1201 + n % 2 END),
			n % 3 = 0 AND n <= 1200, 'status 404', clock_timestamp()
		FROM generate_series(1, 1202) AS n`)
}

func TestRetryFailed(t *testing.T) {
	for _, c := range []struct {
		name   string
		filter FailedFilter
		rows   string // which of them
		want   int
	}{
		{"all", FailedFilter{}, `true`, 1200},
		{"suspect", FailedFilter{Suspect: true}, `id % 3 = 0`, 400},
		{"source", FailedFilter{Source: "slack"}, `id % 2 = 1`, 600},
		{"suspect of a source", FailedFilter{Source: "slack", Suspect: true}, `id % 2 = 1 AND id % 3 = 0`, 200},
		{"ids", FailedFilter{IDs: []int64{1100, 3, 1201, 9999}}, `id IN (3, 1100)`, 2}, // 1201 is active, 9999 is nothing
		{"ids of a source", FailedFilter{IDs: []int64{2, 3}, Source: "slack"}, `id = 3`, 1},
		{"nobody's", FailedFilter{Source: "stripe"}, `false`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := testkit.Database(t)
			s, db := open(t, url), sqlConn(t, url)
			dead(t, url)
			before := query[string](t, db, `SELECT q::text FROM webhook_queue q WHERE NOT (id <= 1200 AND `+c.rows+`) ORDER BY id`)
			if n, err := s.CountFailed(t.Context(), c.filter); err != nil || n != int64(c.want) {
				t.Errorf("counted %d, %v, want %d", n, err, c.want)
			}
			for _, want := range []int{c.want, 0} { // and once more
				if n, err := s.RetryFailed(t.Context(), c.filter); err != nil || n != int64(want) {
					t.Errorf("returned %d, %v, want %d", n, err, want)
				}
			}
			fresh := query[int](t, db, `SELECT count(*) FROM webhook_queue WHERE id <= 1200 AND `+c.rows+`
				AND status = 'pending' AND attempts = 0 AND NOT suspect AND dedupe_key IS NULL
				AND processed_at IS NULL AND last_error = 'status 404'`)[0]
			after := query[string](t, db, `SELECT q::text FROM webhook_queue q WHERE NOT (id <= 1200 AND `+c.rows+`) ORDER BY id`)
			if fresh != c.want || !slices.Equal(before, after) {
				t.Errorf("%d rows are pending anew, want %d; the others changed: %v", fresh, c.want, !slices.Equal(before, after))
			}
		})
	}
}

// What is pending again is delivered before what came later, lane by lane.
func TestRetryFailedOrder(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	var want []int64
	for n := range 6 {
		want = append(want, mustAppend(t, s, hook("lane", n)).QueueID)
	}
	exec(t, db, `UPDATE webhook_queue SET status = 'failed' WHERE id = ANY ($1)`, []int64{want[0], want[2], want[3]})
	if n, err := s.RetryFailed(t.Context(), FailedFilter{}); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if got := ids(claim(t, s, lease(t, s), ClaimFilter{})); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("claimed %v, want %v", got, want)
	}
}
