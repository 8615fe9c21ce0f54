package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	cleanEvery = time.Hour
	cleanRows  = 500
)

// retentionLoop deletes old receipts and payloads, a few rows at a time.
func (r *Runner) retentionLoop(ctx context.Context) {
	defer r.background.Done()
	tick := time.NewTicker(cleanEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := r.clean(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("Clean-up of receipts failed", "err", err)
		}
	}
}

// clean deletes receipts that are older than the retention and have no unfinished
// job.
func (r *Runner) clean(ctx context.Context) error {
	const webhooks = `
DELETE FROM app_webhooks WHERE ctid = ANY(ARRAY(
	SELECT w.ctid FROM app_webhooks w
	WHERE w.stored_at < now() - make_interval(secs => $1)
	  AND NOT EXISTS (SELECT FROM river_job j
	      WHERE j.args @> jsonb_build_object('sluice_id', w.sluice_id) AND j.finalized_at IS NULL)
	LIMIT $2))`
	const deliveries = `
DELETE FROM app_deliveries WHERE ctid = ANY(ARRAY(
	SELECT ctid FROM app_deliveries WHERE stored_at < now() - interval '24 hours' LIMIT $1))`
	for {
		w, err := r.pool.Exec(ctx, webhooks, r.retention.Seconds(), cleanRows)
		if err != nil {
			return fmt.Errorf("delete receipts: %w", err)
		}
		d, err := r.pool.Exec(ctx, deliveries, cleanRows)
		if err != nil {
			return fmt.Errorf("delete deliveries: %w", err)
		}
		if w.RowsAffected() < cleanRows && d.RowsAffected() < cleanRows {
			return nil
		}
	}
}

func collectIDs(ctx context.Context, pool *pgxpool.Pool, sql string, args ...any) ([]int64, error) {
	rows, err := pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}
