package buffer

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// FailedFilter names dead letters: those that meet each condition that is set.
// The zero value names all of them.
type FailedFilter struct {
	Suspect bool    // only those of a time in which the app accepted nothing
	Source  string  // only of this source
	IDs     []int64 // only these rows of webhook_queue
}

// countLimit is for reading all dead letters, of which there may be very many.
const countLimit = 30 * time.Second

const (
	named          = `($1::bigint[] IS NULL OR q.id = ANY ($1)) AND ($2 = '' OR q.source = $2) AND (q.suspect OR NOT $3)`
	countFailedSQL = `
SELECT count(*), COALESCE(max(q.id), 0) FROM webhook_queue q WHERE q.status = 'failed' AND ` + named
	// The walk is in the order of the ids, so that at no time a row of a lane is
	// pending and one before it is not yet. Without its key a row meets neither
	// an active copy nor another dead one.
	retryFailedSQL = `
WITH page AS MATERIALIZED (
	SELECT q.id, ` + named + ` AS named FROM webhook_queue q
	WHERE q.status = 'failed' AND q.id > $4 AND q.id <= $5
	ORDER BY q.id LIMIT 500
), again AS (
	UPDATE webhook_queue q SET status = 'pending', attempts = 0, suspect = false, dedupe_key = NULL,
		claimed_at = NULL, claim_epoch = NULL, awaited_by = NULL, processed_at = NULL
	WHERE q.id = ANY (ARRAY(SELECT id FROM page WHERE named)) AND q.status = 'failed'
	RETURNING 1
)
SELECT COALESCE((SELECT max(id) FROM page), 0), (SELECT count(*) FROM again)`
)

// CountFailed counts the dead letters that f names.
func (s *Store) CountFailed(ctx context.Context, f FailedFilter) (int64, error) {
	n, _, err := s.countFailed(ctx, f)
	return n, err
}

func (s *Store) countFailed(ctx context.Context, f FailedFilter) (n, last int64, err error) {
	err = s.do(ctx, s.pool, countLimit, "count failed rows", func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, countFailedSQL, f.IDs, f.Source, f.Suspect).Scan(&n, &last)
	})
	return n, last, err
}

// RetryFailed makes the dead letters that f names pending again, as if they had
// never been tried, and returns how many; their place in their lane is that of
// their id, and what they failed of stays readable. Those that fail meanwhile
// are left alone. It works in short transactions: after an error, whose last
// page may be missing from the count, call it again.
func (s *Store) RetryFailed(ctx context.Context, f FailedFilter) (int64, error) {
	_, last, err := s.countFailed(ctx, f)
	if err != nil || last == 0 {
		return 0, err
	}
	var after, total int64
	if len(f.IDs) > 0 {
		after = slices.Min(f.IDs) - 1
	}
	for after < last {
		var next, n int64
		err := s.do(ctx, s.pool, queryTimeout, "retry failed rows", func(ctx context.Context, c *pgxpool.Conn) error {
			return paged(ctx, c, retryFailedSQL, []any{f.IDs, f.Source, f.Suspect, after, last}, &next, &n)
		})
		if err != nil {
			return total, err
		}
		if total += n; next == 0 {
			break
		}
		after = next
	}
	return total, nil
}
