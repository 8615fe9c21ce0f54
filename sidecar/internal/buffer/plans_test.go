package buffer

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"sluice/infra/testkit"
)

// cost is what a statement may read at the most, whatever the size of the queue.
type cost struct {
	rows  int // of webhook_queue, by table and index scans together, those filtered out included
	pages int // touched in all
}

// statement is one of the store's, with parameters as at work.
type statement struct {
	name string
	sql  string
	args []any
	most cost
	page bool // paged runs it
}

// TestPlansAtScale lets PostgreSQL explain each statement on a long backlog: none
// reads more for it than for a short one. SLUICE_LONG=1 makes that a million rows
// in 100,000 lanes; the limits are the same. What is counted are rows and pages,
// which no busy machine changes. RetryFailed's count and Stats as a whole do go
// through what they count, in pages; an exact count of one lane reads that lane.
func TestPlansAtScale(t *testing.T) {
	rows, lanes := 20_000, 2_000
	if os.Getenv("SLUICE_LONG") != "" {
		rows, lanes = 1_000_000, 100_000
	} else if testing.Short() {
		t.Skip("fills a table")
	}
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	exec(t, db, `ALTER TABLE webhook_queue SET (autovacuum_enabled = off)`) // it would come at some time
	fill(t, db, "done", rows/4, lanes/4, []byte("{}"))
	exec(t, db, `UPDATE webhook_queue SET status = CASE WHEN id % 4 = 0 THEN 'failed' ELSE 'completed' END, processed_at = clock_timestamp()`)
	exec(t, db, `VACUUM (ANALYZE) webhook_queue`) // statistics of a queue that is empty; and who first meets the index entry of a row that is done looks at the row, once
	fill(t, db, "lane", rows, lanes, []byte("{}"))
	fill(t, db, "deep", rows/10, 1, []byte("{}"))
	exec(t, db, `UPDATE webhook_queue SET awaited_by = $1, status = 'processing'
		WHERE id IN (SELECT id FROM webhook_queue WHERE status = 'pending' ORDER BY id DESC LIMIT 100)`, s.instance)
	statements := statementsAtWork(t, s, db)
	for _, state := range []string{"not analyzed", "analyzed"} { // statistics come late to a table that fills at once
		if state == "analyzed" {
			exec(t, db, `VACUUM (ANALYZE) webhook_queue`)
		}
		for _, st := range statements {
			for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
				got, plan := explain(t, db, mode, st)
				t.Logf("%-16s %-19s %-22s %6d rows %6d pages", state, mode, st.name, got.rows, got.pages)
				if got.rows > st.most.rows || got.pages > st.most.pages {
					t.Errorf("%s, %s: %s reads %d rows and %d pages, want %d and %d at most:\n%s", state, mode, st.name,
						got.rows, got.pages, st.most.rows, st.most.pages, plan)
				}
			}
		}
	}
	tellTimes(t, s, lanes)
}

// tellTimes logs how long what is done in pages takes as a whole.
func tellTimes(t *testing.T, s *Store, lanes int) {
	t.Helper()
	began := time.Now()
	st, err := s.Stats(t.Context())
	if err != nil {
		t.Error(err)
	}
	t.Logf("counting %d rows took %v", st.Pending+st.Processing+st.Failed, time.Since(began))
	began = time.Now()
	all := 0
	for at, first := (*LanePlace)(nil), true; first || at != nil; first = false {
		counts, next, err := s.ActiveLanes(t.Context(), at, 1000, 64)
		if err != nil {
			t.Fatal(err)
		}
		all, at = all+len(counts), next
	}
	if all != lanes+1 {
		t.Errorf("%d lanes, want %d", all, lanes+1)
	}
	t.Logf("looking at %d lanes took %v", all, time.Since(began))
}

// statementsAtWork are the statements that run while a long backlog is there.
func statementsAtWork(t *testing.T, s *Store, db *pgx.Conn) []statement {
	t.Helper()
	leases := lease(t, s)
	in, epochs, begin := s.walk.plan(leases)
	middle := make([]*string, len(in))
	for i, b := range in {
		lane := query[string](t, db, `SELECT lane FROM webhook_queue WHERE bucket = $1 AND `+active+` GROUP BY lane ORDER BY lane OFFSET 50 LIMIT 1`, b)[0]
		middle[i] = &lane
	}
	some := query[int64](t, db, `SELECT id FROM webhook_queue WHERE status = 'pending' AND lane LIKE 'lane%' ORDER BY id LIMIT 50 OFFSET 500`)
	lane := query[string](t, db, `SELECT lane FROM webhook_queue WHERE id = ANY ($1)`, some)
	lane[0] = "deep0"
	keys, of := make([]string, len(lane)), make([]int16, len(lane))
	for i := range lane {
		keys[i], of[i] = laneKey(lane[i])
	}
	n := len(some)
	epoch, attempts, reasons, marks := make([]int64, n), make([]int32, n), make([]string, n), make([]bool, n)
	for i := range epoch {
		epoch[i] = epochs[0]
	}
	key := []byte("12345678")
	last := query[int64](t, db, `SELECT max(id) FROM webhook_queue`)[0]
	dead := query[int64](t, db, `SELECT id FROM webhook_queue WHERE status = 'failed' ORDER BY id LIMIT 1 OFFSET 100`)[0]
	hook := func(key string) []any {
		return []any{uuid.New(), "s", "d", "e", "lane1", of[0], []byte("h"), []byte("b"), 1, nil, "", time.Now(), []byte(key), 0, 0, nil}
	}
	return []statement{
		{"claim, beginning", claimSQL, []any{in, epochs, begin, s.instance, []string{}, []int64{}, 256, 64, 8 << 20, 256, bigBody}, cost{2000, 6000}, false},
		{"claim, middle", claimSQL, []any{in, epochs, middle, s.instance, keys, some, 256, 16, 8 << 20, 256 + n, bigBody}, cost{2500, 7000}, false},
		{"backlog", backlogSQL, []any{keys, of, 64}, cost{2000, 2000}, false},
		{"active lanes", activeLanesSQL, []any{in[0], *middle[0], 50, 64}, cost{2000, 2500}, false},
		{"completed", completedSQL, []any{some, epoch, attempts, reasons, marks}, cost{150, 3000}, false},
		{"failed", failedSQL, []any{some, epoch, attempts, reasons, marks, s.instance}, cost{200, 3000}, false},
		{"tried", triedSQL, []any{some, epoch, attempts, reasons, marks, s.instance}, cost{200, 3000}, false},
		{"body", sliceSQL, []any{some[0], 1, sliceSize}, cost{1, 10}, false},
		{"insert", insertOneSQL, hook("new"), cost{0, 100}, false},
		{"find", findSQL, []any{[]uuid.UUID{uuid.New()}}, cost{45_000, 5000}, false}, // the latest 20,000, after a lost answer
		{"awaited, done", awaitedDoneSQL, []any{some}, cost{200, 3000}, false},
		{"awaited, back", awaitedBackSQL, []any{some, reasons, s.instance}, cost{200, 300}, false},
		{"awaited, all", awaitedSQL, []any{s.instance}, cost{200, 300}, false},
		{"awaited, free", freeAwaitedSQL, []any{s.instance, some}, cost{200, 300}, false},
		{"leases, read", readLeasesSQL, nil, cost{0, 10}, false},
		{"leases, take", takeLeasesSQL, []any{s.instance, in, epochs, in}, cost{0, 300}, false},
		{"leases, key", keyNeededSQL, []any{in[0], key}, cost{200, 300}, true},
		{"leases, release", releaseLeasesSQL, []any{s.instance, in[:1]}, cost{0, 20}, false},
		{"leases, need key", needKeySQL, []any{in[0], epochs[0], s.instance, key}, cost{0, 20}, false},
		{"join", joinSQL, []any{uuid.New(), "a name", "passing", false, [][]byte{}}, cost{200, 300}, false},
		{"beat", beatSQL, []any{s.instance, "", "passing", false, 0, true, [][]byte{}, false}, cost{200, 300}, false},
		{"leave", leaveSQL, []any{s.instance}, cost{300, 4000}, false},
		{"count", countSQL, []any{in[0], *middle[0], some[0], 1000}, cost{1000, 2000}, true},
		{"count failed", failedCountSQL, []any{dead, 1000}, cost{1000, 2000}, true},
		{"inserted", insertedSQL, nil, cost{1, 5}, false},
		{"retain", retainSQL, []any{int64(0), time.Hour, "completed"}, cost{1000, 3000}, true},
		{"retain failed", retainFailedSQL, []any{int64(0), time.Hour, "failed"}, cost{1000, 3000}, true},
		{"retry failed", retryFailedSQL, []any{[]int64(nil), "", false, dead, last}, cost{1500, 20_000}, true},
	}
}

// node is a part of a plan, as EXPLAIN tells it.
type node struct {
	Relation string  `json:"Relation Name"`
	Index    string  `json:"Index Name"`
	Type     string  `json:"Node Type"`
	Rows     float64 `json:"Actual Rows"`
	Loops    float64 `json:"Actual Loops"`
	Filtered float64 `json:"Rows Removed by Filter"`
	Joined   float64 `json:"Rows Removed by Join Filter"`
	Checked  float64 `json:"Rows Removed by Index Recheck"`
	Hit      int     `json:"Shared Hit Blocks"`
	Read     int     `json:"Shared Read Blocks"`
	Plans    []node
}

func (n node) rows() int {
	sum := 0
	if strings.Contains(n.Type, "Scan") && (strings.HasPrefix(n.Relation, "webhook_queue") || strings.HasPrefix(n.Index, "webhook_queue")) {
		sum = int((n.Rows + n.Filtered + n.Checked) * n.Loops)
	}
	for _, p := range n.Plans {
		sum += p.rows()
	}
	return sum
}

// explain runs a statement, undoes it and returns what it has read.
func explain(t *testing.T, db *pgx.Conn, mode string, st statement) (cost, string) {
	t.Helper()
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	name := "p" + uuid.NewString()
	prepared, err := tx.Prepare(t.Context(), name, st.sql)
	if err != nil {
		t.Fatalf("%s: %v", st.name, err)
	}
	exec(t, db, "SET LOCAL plan_cache_mode = "+mode)
	if st.page {
		exec(t, db, inOrder)
	}
	literals := make([]string, len(st.args))
	for i, a := range st.args {
		text, err := pgtype.NewMap().Encode(prepared.ParamOIDs[i], pgtype.TextFormatCode, a, []byte{})
		if err != nil {
			t.Fatalf("%s: parameter %d: %v", st.name, i+1, err)
		}
		if literals[i] = "NULL"; text != nil {
			literals[i] = "'" + strings.ReplaceAll(string(text), "'", "''") + "'"
		}
	}
	of := ""
	if len(literals) > 0 {
		of = "(" + strings.Join(literals, ", ") + ")"
	}
	var plan []byte
	err = tx.QueryRow(t.Context(), fmt.Sprintf(`EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT JSON) EXECUTE %q%s`, name, of), pgx.QueryExecModeSimpleProtocol).Scan(&plan)
	if err != nil {
		t.Fatalf("%s: %v", st.name, err)
	}
	var told []struct {
		Plan node
		JIT  any
	}
	if err := json.Unmarshal(plan, &told); err != nil || len(told) != 1 {
		t.Fatalf("%s: %v", st.name, err)
	}
	if told[0].JIT != nil {
		t.Errorf("%s, %s: the plan is compiled: %v", mode, st.name, told[0].JIT)
	}
	return cost{told[0].Plan.rows(), told[0].Plan.Hit + told[0].Plan.Read}, string(plan)
}
