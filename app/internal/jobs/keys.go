package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
)

// Jobs with the same concurrency key run one after another. River has no such
// feature, so they are inserted as pending, a state that River never fetches. The
// first unfinished job of a key is promoted, that is made available, once no
// other one is under way. A key's jobs change only under an advisory lock of the
// transaction.

const sweepEvery = 2 * time.Second

// promoteLoop promotes the next job of a key when one has ended. The sweep finds
// jobs that a lost event or a crash left pending.
func (r *Runner) promoteLoop(ctx context.Context, finished <-chan *river.Event, unsubscribe func()) {
	defer r.background.Done()
	defer unsubscribe()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case event, ok := <-finished:
			if !ok {
				finished = nil // River has stopped
				continue
			}
			var args Args
			if json.Unmarshal(event.Job.EncodedArgs, &args) != nil || args.Key == "" {
				continue
			}
			err = r.promote(ctx, []string{args.Key})
		case <-tick.C:
			err = r.sweepKeys(ctx)
		}
		if err != nil && ctx.Err() == nil {
			r.log.Warn("Waiting jobs not promoted", "err", err)
		}
	}
}

// sweepKeys promotes jobs of keys that have pending jobs and none under way.
func (r *Runner) sweepKeys(ctx context.Context) error {
	const waiting = `
SELECT DISTINCT args->>'key' FROM river_job w
WHERE args->>'key' IS NOT NULL AND finalized_at IS NULL AND state = 'pending'
  AND NOT EXISTS (SELECT FROM river_job o WHERE o.args->>'key' = w.args->>'key'
      AND o.args->>'key' IS NOT NULL AND o.finalized_at IS NULL AND o.state <> 'pending')
ORDER BY 1 LIMIT 1000`
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	rows, err := r.pool.Query(ctx, waiting)
	if err != nil {
		return fmt.Errorf("find waiting keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("find waiting keys: %w", err)
	}
	if len(keys) == 0 {
		return nil
	}
	return r.promote(ctx, keys)
}

// promote promotes the keys' first jobs in a transaction of its own.
func (r *Runner) promote(ctx context.Context, keys []string) error {
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	return pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		if err := lockKeys(ctx, tx, keys); err != nil {
			return err
		}
		return promote(ctx, tx, keys)
	})
}

// lockKeys waits for other transactions that change these keys' jobs. It must be a
// statement of its own: the next statement then sees what they committed.
func lockKeys(ctx context.Context, tx pgx.Tx, keys []string) error {
	const lock = `SELECT pg_advisory_xact_lock(k) FROM (
	SELECT DISTINCT hashtextextended(key, 74) AS k FROM unnest($1::text[]) AS key ORDER BY 1) keys`
	if _, err := tx.Exec(ctx, lock, keys); err != nil {
		return fmt.Errorf("lock keys: %w", err)
	}
	return nil
}

// promote makes the first job of each key available if none is under way, and
// notifies River's clients. The keys must be locked.
func promote(ctx context.Context, tx pgx.Tx, keys []string) error {
	const promote = `
WITH heads AS (
	SELECT DISTINCT ON (args->>'key') id, state FROM river_job
	WHERE args->>'key' = ANY($1) AND args->>'key' IS NOT NULL AND finalized_at IS NULL
	ORDER BY args->>'key', (state = 'pending'), id -- a job under way sorts before pending ones
), promoted AS (
	UPDATE river_job SET state = 'available'
	WHERE state = 'pending' AND id IN (SELECT id FROM heads WHERE state = 'pending')
	RETURNING queue
)
SELECT pg_notify(current_schema() || '.river_insert', json_build_object('queue', queue)::text)
FROM (SELECT DISTINCT queue FROM promoted) queues`
	if _, err := tx.Exec(ctx, promote, keys); err != nil {
		return fmt.Errorf("promote jobs: %w", err)
	}
	return nil
}
