package buffer

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Stats counts the queue. Bytes are of headers and bodies of active rows.
type Stats struct {
	Pending, Processing, Failed int64
	Bytes, UnverifiedBytes      int64
	OldestPending               time.Duration // since it was queued, 0 when nothing is pending
}

const statsSQL = `
SELECT a.pending, a.processing, f.failed, a.bytes, a.unverified, a.oldest
FROM (
	SELECT count(*) FILTER (WHERE q.status = 'pending') AS pending,
		count(*) FILTER (WHERE q.status = 'processing') AS processing,
		COALESCE(sum(q.body_size + octet_length(q.headers)), 0)::bigint AS bytes,
		COALESCE(sum(q.body_size + octet_length(q.headers)) FILTER (WHERE q.verified IS NULL), 0)::bigint AS unverified,
		COALESCE(extract(epoch FROM clock_timestamp() - min(q.queued_at) FILTER (WHERE q.status = 'pending')), 0)::float8 AS oldest
	FROM webhook_queue q WHERE q.` + active + `
) AS a, (
	SELECT count(*) AS failed FROM webhook_queue q WHERE q.status = 'failed'
) AS f`

// Stats reads only active and failed rows, by their partial indexes.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	var st Stats
	err := s.do(ctx, s.pool, queryTimeout, "count rows", func(ctx context.Context, c *pgxpool.Conn) error {
		var oldest float64
		err := c.QueryRow(ctx, statsSQL).Scan(&st.Pending, &st.Processing, &st.Failed,
			&st.Bytes, &st.UnverifiedBytes, &oldest)
		st.OldestPending = max(0, time.Duration(oldest*float64(time.Second)))
		return err
	})
	return st, err
}

// Rows are walked in the order of their ids, which is roughly that of their
// ages, so the walk ends at the first page that is young. Each page is a short
// transaction of its own, of 500 rows or less when their bodies are large, since
// each 2 KB of a body is a row to delete. What another replica deletes at the
// same time is simply gone.
const (
	walkSQL = `
WITH page AS MATERIALIZED (
	SELECT * FROM (
		SELECT w.*, sum(w.body_size) OVER (ORDER BY w.id) AS bytes, row_number() OVER (ORDER BY w.id) AS n FROM (
			SELECT q.ctid AS place, q.id, q.body_size, q.status, q.queued_at, q.processed_at FROM webhook_queue q
			WHERE q.id > $1`
	deleteSQL = `
			ORDER BY q.id LIMIT 500) AS w
	) AS p WHERE p.bytes <= 67108864 OR p.n = 1
), gone AS (
	DELETE FROM webhook_queue q
	WHERE q.ctid = ANY (ARRAY(SELECT place FROM page
		WHERE status = $3 AND COALESCE(processed_at, queued_at) < clock_timestamp() - $2::interval))
		AND q.status = $3
	RETURNING 1
)
SELECT COALESCE((SELECT max(id) FROM page), 0), (SELECT count(*) FROM gone),
	COALESCE((SELECT min(queued_at) FROM page) >= clock_timestamp() - $2::interval, true)`

	retainSQL       = walkSQL + deleteSQL
	retainFailedSQL = walkSQL + ` AND q.status = 'failed'` + deleteSQL // by the partial index
)

// Retain deletes completed rows that were processed longer than keep ago and
// returns how many. Call it hourly, in as many replicas as there are; ctx bounds
// it.
func (s *Store) Retain(ctx context.Context, keep time.Duration) (int64, error) {
	return s.deleteOld(ctx, retainSQL, "completed", keep)
}

// RetainFailed is Retain for the dead letters.
func (s *Store) RetainFailed(ctx context.Context, keep time.Duration) (int64, error) {
	return s.deleteOld(ctx, retainFailedSQL, "failed", keep)
}

func (s *Store) deleteOld(ctx context.Context, sql, status string, keep time.Duration) (int64, error) {
	var last, total int64
	for young := false; !young; {
		err := s.do(ctx, s.pool, queryTimeout, "delete old rows", func(ctx context.Context, c *pgxpool.Conn) error {
			var next, n int64
			if err := c.QueryRow(ctx, sql, last, keep, status).Scan(&next, &n, &young); err != nil {
				return err
			}
			last, total = max(last, next), total+n
			return nil
		})
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
