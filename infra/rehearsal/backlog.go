package rehearsal

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const backlogPoll = 250 * time.Millisecond

// backlogSQL counts stored rows, failed rows and unfinished jobs.
const backlogSQL = `
SELECT (SELECT count(*) FROM webhook_queue WHERE status IN ('pending', 'processing')),
       (SELECT count(*) FROM webhook_queue WHERE status = 'failed'),
       (SELECT count(*) FROM river_job WHERE kind = 'hook' AND state NOT IN ('completed', 'cancelled', 'discarded'))`

// bareBacklogSQL is backlogSQL where no sidecar has made its table.
const bareBacklogSQL = `
SELECT 0, 0, (SELECT count(*) FROM river_job WHERE kind = 'hook' AND state NOT IN ('completed', 'cancelled', 'discarded'))`

// backlog is what backlogSQL counts. missing counts the webhooks that are
// acknowledged and not yet recorded.
type backlog struct{ rows, failed, jobs, missing int }

func (o backlog) empty() bool { return o.rows == 0 && o.jobs == 0 && o.missing == 0 }

// awaitDelivery waits until every acknowledged webhook is delivered, or until
// SettleLimit passes without progress.
func (s *stage) awaitDelivery(ctx context.Context) {
	s.log.Add("rehearsal", "waits for what is not yet delivered")
	var last backlog
	var problem error
	for moved := time.Now(); ctx.Err() == nil && time.Since(moved) < s.config.SettleLimit; pause(ctx, backlogPoll) {
		var now backlog
		if now, problem = s.backlog(ctx); problem != nil {
			continue
		}
		if now.empty() {
			s.log.Add("rehearsal", "everything is delivered")
			if now.failed > 0 {
				s.fault("%d rows of webhook_queue ended as failed", now.failed)
			}
			return
		}
		if now != last {
			last, moved = now, time.Now()
		}
		s.progress(fmt.Sprintf("waiting for %d held rows, %d jobs, %d webhooks", now.rows, now.jobs, now.missing))
	}
	if problem != nil {
		s.fault("the backlog cannot be read: %v", problem)
		return
	}
	s.fault("no progress for %s: %d held rows, %d failed rows, %d jobs and %d acknowledged webhooks are left",
		s.config.SettleLimit, last.rows, last.failed, last.jobs, last.missing)
}

func (s *stage) backlog(ctx context.Context) (backlog, error) {
	ctx, cancel := context.WithTimeout(ctx, localLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.database)
	if err != nil {
		return backlog{}, fmt.Errorf("connect to database: %w", err)
	}
	defer conn.Close(ctx)
	var o backlog
	count := backlogSQL
	if s.config.home().bare {
		count = bareBacklogSQL
	}
	if err := conn.QueryRow(ctx, count).Scan(&o.rows, &o.failed, &o.jobs); err != nil {
		return backlog{}, fmt.Errorf("count backlog: %w", err)
	}
	records, err := s.readRecords()
	if err != nil {
		return backlog{}, err
	}
	recorded := make(map[string]bool, len(records))
	for _, r := range records {
		recorded[r.ID] = true
	}
	webhooks := s.fleet.Ledger.Webhooks()
	for i := range webhooks {
		if webhooks[i].Acknowledged() != nil && !recorded[webhooks[i].ID] {
			o.missing++
		}
	}
	return o, nil
}
