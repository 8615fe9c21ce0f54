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
// ages, so the walk ends at the first page that is young; each page is a short
// transaction of its own.
const retainSQL = `
WITH page AS MATERIALIZED (
	SELECT ctid, id, status, queued_at, processed_at FROM webhook_queue
	WHERE id > $1 ORDER BY id LIMIT 500
), gone AS (
	DELETE FROM webhook_queue q
	WHERE q.ctid = ANY (ARRAY(SELECT ctid FROM page
		WHERE status = 'completed' AND processed_at < clock_timestamp() - $2::interval))
		AND q.status = 'completed'
	RETURNING 1
)
SELECT COALESCE((SELECT max(id) FROM page), 0), (SELECT count(*) FROM gone),
	COALESCE((SELECT min(queued_at) FROM page) >= clock_timestamp() - $2::interval, true)`

// Retain deletes completed rows that were processed longer than keep ago and
// returns how many. Call it hourly; ctx bounds it.
func (s *Store) Retain(ctx context.Context, keep time.Duration) (int64, error) {
	var last, total int64
	for young := false; !young; {
		err := s.do(ctx, s.pool, queryTimeout, "delete old rows", func(ctx context.Context, c *pgxpool.Conn) error {
			var next, n int64
			if err := c.QueryRow(ctx, retainSQL, last, keep).Scan(&next, &n, &young); err != nil {
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
