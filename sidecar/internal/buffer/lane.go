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
		rows, err := c.Query(ctx, backlogSQL, keys, in, limit)
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

// A loose index scan: one probe per lane, however many rows a lane has.
const activeLanesSQL = `
WITH RECURSIVE lanes AS (
	(SELECT q.bucket, q.lane FROM webhook_queue q
	 WHERE q.` + active + ` ORDER BY q.bucket, q.lane LIMIT 1)
	UNION ALL
	SELECT n.bucket, n.lane FROM lanes l CROSS JOIN LATERAL (
		SELECT q.bucket, q.lane FROM webhook_queue q
		WHERE q.` + active + ` AND (q.bucket, q.lane) > (l.bucket, l.lane)
		ORDER BY q.bucket, q.lane LIMIT 1) AS n
)
SELECT l.lane, c.n FROM lanes l
CROSS JOIN LATERAL (
	SELECT count(*) AS n FROM (
		SELECT 1 FROM webhook_queue q
		WHERE q.bucket = l.bucket AND q.lane = l.lane AND q.` + active + `
		LIMIT $1) AS h
) AS c`

// ActiveLanes counts the active rows of every lane that has any, up to limit
// each.
func (s *Store) ActiveLanes(ctx context.Context, limit int) (map[string]int, error) {
	counts := make(map[string]int)
	err := s.do(ctx, s.pool, queryTimeout, "list active lanes", func(ctx context.Context, c *pgxpool.Conn) error {
		clear(counts)
		rows, err := c.Query(ctx, activeLanesSQL, limit)
		if err != nil {
			return err
		}
		var lane string
		var n int
		_, err = pgx.ForEachRow(rows, []any{&lane, &n}, func() error {
			counts[lane] = n
			return nil
		})
		return err
	})
	return counts, err
}
