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

// The queue is counted in pages, each a statement of its own: the time of one has a
// limit, that of all has none. It is counted rather than kept in counters, because
// not everybody would keep those: older versions beside this one, operators' SQL.
// And a row of counters that every batch updates would have the commits of all
// replicas wait for each other.
const (
	countPage  = 20_000
	failedPage = 100_000

	countSQL = `
WITH page AS MATERIALIZED (
	SELECT q.bucket, q.lane, q.id, q.status, q.body_size + octet_length(q.headers) AS bytes, q.verified, q.queued_at
	FROM webhook_queue q
	WHERE q.` + active + ` AND (q.bucket, q.lane, q.id) > ($1::smallint, $2::text COLLATE "C", $3::bigint)
	ORDER BY q.bucket, q.lane, q.id LIMIT $4
), last AS (
	SELECT bucket, lane, id FROM page ORDER BY bucket DESC, lane DESC, id DESC LIMIT 1
)
SELECT count(*), count(*) FILTER (WHERE p.status = 'pending'), COALESCE(sum(p.bytes), 0)::bigint,
	COALESCE(sum(p.bytes) FILTER (WHERE p.verified IS NULL), 0)::bigint,
	COALESCE(extract(epoch FROM clock_timestamp() - min(p.queued_at) FILTER (WHERE p.status = 'pending')), 0)::float8,
	COALESCE((SELECT bucket FROM last), 0), COALESCE((SELECT lane FROM last), ''), COALESCE((SELECT id FROM last), 0)
FROM page p`

	failedCountSQL = `
SELECT count(*), COALESCE(max(id), 0) FROM (
	SELECT q.id FROM webhook_queue q WHERE q.status = 'failed' AND q.id > $1 ORDER BY q.id LIMIT $2) AS page`
)

// Stats counts the active and the failed rows. It takes time in proportion to
// them, about a second for each million in memory; ctx bounds it. Rows that come and go
// meanwhile are counted or not.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	var st Stats
	bucket, lane, id := int16(-1), "", int64(0)
	for rows := int64(countPage); rows == countPage; {
		var pending, bytes, unverified int64
		var oldest float64
		err := s.do(ctx, s.pool, queryTimeout, "count rows", func(ctx context.Context, c *pgxpool.Conn) error {
			return paged(ctx, c, countSQL, []any{bucket, lane, id, countPage},
				&rows, &pending, &bytes, &unverified, &oldest, &bucket, &lane, &id)
		})
		if err != nil {
			return Stats{}, err
		}
		st.Pending, st.Processing = st.Pending+pending, st.Processing+rows-pending
		st.Bytes, st.UnverifiedBytes = st.Bytes+bytes, st.UnverifiedBytes+unverified
		st.OldestPending = max(st.OldestPending, time.Duration(oldest*float64(time.Second)))
	}
	id = 0
	for rows := int64(failedPage); rows == failedPage; st.Failed += rows {
		err := s.do(ctx, s.pool, queryTimeout, "count failed rows", func(ctx context.Context, c *pgxpool.Conn) error {
			return paged(ctx, c, failedCountSQL, []any{id, failedPage}, &rows, &id)
		})
		if err != nil {
			return Stats{}, err
		}
	}
	return st, nil
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
			if err := paged(ctx, c, sql, []any{last, keep, status}, &next, &n, &young); err != nil {
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
