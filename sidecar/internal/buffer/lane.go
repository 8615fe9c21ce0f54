package buffer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	buckets  = 16
	maxLane  = 512  // an index entry must fit a page with room to spare
	maxLabel = 1024 // delivery id and event: the headers have the whole of it
)

// active is written out in every statement exactly as in the partial indexes,
// or the planner does not see that they apply.
const active = `status IN ('pending', 'processing')`

// alive is the same for statements that know their rows' ids. The planner does not
// see that the partial indexes apply, which it would take for short ones while it
// has no statistics, and go through the whole backlog.
const alive = `status NOT IN ('completed', 'failed')`

// inOrder is for statements that go through rows page by page in the order of an
// index: while the planner has no statistics it would read all of the rest for each
// page, and sort it. What is off is priced so high that the server would compile
// the plan, for a quarter of a second.
const inOrder = `SELECT set_config(name, 'off', true) FROM unnest(ARRAY['enable_sort', 'enable_bitmapscan', 'enable_seqscan', 'jit']) AS name`

// paged runs a statement that reads a page in the order of an index, in a
// transaction of its own.
func paged(ctx context.Context, c *pgxpool.Conn, sql string, args []any, into ...any) error {
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, inOrder); err != nil {
			return err
		}
		return tx.QueryRow(ctx, sql, args...).Scan(into...)
	})
}

// laneKey returns a lane as it is stored, and its bucket. A lane that text
// cannot hold, or too long for an index, is stored as its beginning and a hash.
func laneKey(lane string) (string, int16) {
	if len(lane) > maxLane || !utf8.ValidString(lane) || strings.IndexByte(lane, 0) >= 0 {
		sum := sha256.Sum256([]byte(lane))
		lane = label(lane, maxLane/2) + "#" + hex.EncodeToString(sum[:16])
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(lane)) // never fails
	return lane, int16(h.Sum32() % buckets)
}

// label makes s fit for a text column: valid UTF-8, no NUL, limit bytes at most.
func label(s string, limit int) string {
	if len(s) <= limit && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	s = s[:min(len(s), limit)]
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?")
	return s
}

const backlogSQL = `
SELECT w.ord, c.n
FROM unnest($1::text[], $2::smallint[]) WITH ORDINALITY AS w(lane, bucket, ord)
CROSS JOIN LATERAL (
	SELECT count(*) AS n FROM (
		SELECT 1 FROM webhook_queue q
		WHERE q.bucket = w.bucket AND q.lane = w.lane AND q.` + active + `
		LIMIT $3) AS h
) AS c
WHERE c.n > 0`

// Backlog counts the active rows of lanes, whichever replica wrote them, up to
// limit each. A lane without active rows is absent from the answer.
func (s *Store) Backlog(ctx context.Context, lanes []string, limit int) (map[string]int, error) {
	counts := make(map[string]int)
	if len(lanes) == 0 {
		return counts, nil
	}
	keys, in := make([]string, len(lanes)), make([]int16, len(lanes))
	for i, lane := range lanes {
		keys[i], in[i] = laneKey(lane)
	}
	err := s.do(ctx, s.pool, queryTimeout, "count backlog", func(ctx context.Context, c *pgxpool.Conn) error {
		clear(counts)
		rows, err := c.Query(ctx, backlogSQL, s.planned.mode(c.Conn()), keys, in, limit)
		if err != nil {
			return err
		}
		var ord, n int
		_, err = pgx.ForEachRow(rows, []any{&ord, &n}, func() error {
			counts[lanes[ord-1]] = n
			return nil
		})
		return err
	})
	return counts, err
}

// A loose index scan: one probe per lane, however many rows a lane has, and one
// page of lanes, however many there are.
const activeLanesSQL = `
WITH RECURSIVE lanes AS (
	(SELECT q.bucket, q.lane FROM webhook_queue q
	 WHERE q.` + active + ` AND (q.bucket, q.lane) > ($1::smallint, $2::text COLLATE "C")
	 ORDER BY q.bucket, q.lane LIMIT 1)
	UNION ALL
	SELECT n.bucket, n.lane FROM lanes l CROSS JOIN LATERAL (
		SELECT q.bucket, q.lane FROM webhook_queue q
		WHERE q.` + active + ` AND (q.bucket, q.lane) > (l.bucket, l.lane)
		ORDER BY q.bucket, q.lane LIMIT 1) AS n
)
SELECT l.bucket, l.lane, c.n FROM (SELECT bucket, lane FROM lanes LIMIT $3) AS l
CROSS JOIN LATERAL (
	SELECT count(*) AS n FROM (
		SELECT 1 FROM webhook_queue q
		WHERE q.bucket = l.bucket AND q.lane = l.lane AND q.` + active + `
		LIMIT $4) AS h
) AS c`

// LanePlace is a place in the order in which ActiveLanes goes over the lanes.
type LanePlace struct {
	bucket int16
	lane   string
}

// ActiveLanes counts the active rows, up to limit each, of the lanes that have any
// and come after a place, nil for all: of so many lanes as page says. It returns
// the place after which to go on, nil behind the last lane. Each page is a
// statement of its own, so there is no number of lanes for which the time of one
// would not do; together they have seen every row that was committed when the
// first one began, and is still active.
func (s *Store) ActiveLanes(ctx context.Context, after *LanePlace, page, limit int) (counts map[string]int, next *LanePlace, err error) {
	if after == nil {
		after = &LanePlace{bucket: -1}
	}
	counts = make(map[string]int, page)
	err = s.do(ctx, s.pool, queryTimeout, "list active lanes", func(ctx context.Context, c *pgxpool.Conn) error {
		clear(counts)
		next = nil
		rows, err := c.Query(ctx, activeLanesSQL, s.planned.mode(c.Conn()), after.bucket, after.lane, page, limit)
		if err != nil {
			return err
		}
		var at LanePlace
		var n int
		_, err = pgx.ForEachRow(rows, []any{&at.bucket, &at.lane, &n}, func() error {
			counts[at.lane] = n
			if next == nil || at.follows(*next) {
				next = &LanePlace{at.bucket, at.lane}
			}
			return nil
		})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if len(counts) < page {
		next = nil
	}
	return counts, next, nil
}

func (p LanePlace) follows(o LanePlace) bool {
	return p.bucket > o.bucket || p.bucket == o.bucket && p.lane > o.lane
}
