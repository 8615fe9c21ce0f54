package jobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// A process writes its heartbeat every heartbeat and counts as dead after silence
// without one. So the jobs of a killed process run again after 20 seconds at
// most, and at once when its successor starts in the same container.
const (
	heartbeat  = 3 * time.Second
	silence    = 15 * time.Second
	queryLimit = 5 * time.Second
	leaveLimit = 2 * time.Second // short: it runs in the last seconds of a drain
)

// heartbeatLoop writes this process's heartbeat and returns the jobs of dead
// processes to the queue.
func (r *Runner) heartbeatLoop(ctx context.Context) {
	defer r.background.Done()
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	// While the database is away no process can write its heartbeat. So others
	// count as dead only after this process itself could write for as long.
	beatingSince := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := r.beat(ctx); err != nil {
			beatingSince = time.Now()
			r.log.Warn("Heartbeat failed", "err", err)
			continue
		}
		if err := r.rescue(ctx, time.Since(beatingSince) > silence); err != nil {
			r.log.Warn("Rescue of jobs failed", "err", err)
		}
	}
}

func (r *Runner) beat(ctx context.Context) error {
	const beat = `
INSERT INTO app_instances (id, home, pid) VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp()`
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	if _, err := r.pool.Exec(ctx, beat, r.id, r.home, os.Getpid()); err != nil {
		return fmt.Errorf("write heartbeat: %w", err)
	}
	return nil
}

// removeEnded deletes the heartbeats of processes that ran in the same place as
// this one and have ended.
func (r *Runner) removeEnded(ctx context.Context) error {
	const neighbours = `SELECT id, pid FROM app_instances WHERE home = $1 AND id <> $2`
	if r.home == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	rows, err := r.pool.Query(ctx, neighbours, r.home, r.id)
	if err != nil {
		return fmt.Errorf("find neighbours: %w", err)
	}
	type neighbour struct {
		ID  string
		PID int
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[neighbour])
	if err != nil {
		return fmt.Errorf("find neighbours: %w", err)
	}
	for _, n := range found {
		// A process that had our own number has ended, too.
		if n.PID != os.Getpid() && !errors.Is(syscall.Kill(n.PID, 0), syscall.ESRCH) {
			continue
		}
		if _, err := r.pool.Exec(ctx, `DELETE FROM app_instances WHERE id = $1`, n.ID); err != nil {
			return fmt.Errorf("delete heartbeat: %w", err)
		}
	}
	return nil
}

// rescue makes jobs available again that count as running in a process without a
// heartbeat. With expire it first deletes heartbeats that are too old. A crash is
// not the job's fault, so it costs no attempt; but a job whose process crashes
// again and again waits longer each time, up to a minute.
func (r *Runner) rescue(ctx context.Context, expire bool) error {
	const deleteOld = `DELETE FROM app_instances WHERE seen_at < now() - make_interval(secs => $1)`
	const rescue = `
WITH lost AS (
	SELECT id, coalesce((metadata->>'sluice_rescues')::int, 0) AS before
	FROM river_job
	WHERE state = 'running'
	  AND NOT EXISTS (SELECT FROM app_instances i WHERE i.id = attempted_by[array_upper(attempted_by, 1)])
	ORDER BY id
	FOR UPDATE SKIP LOCKED
)
UPDATE river_job j
SET state = 'available',
    attempt = greatest(attempt - 1, 0),
    scheduled_at = CASE WHEN before < 3 THEN scheduled_at
                        ELSE now() + least(before * 2, 60) * interval '1 second' END,
    metadata = jsonb_set(metadata, '{sluice_rescues}', to_jsonb(before + 1))
FROM lost WHERE j.id = lost.id
RETURNING j.id`
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	if expire {
		if _, err := r.pool.Exec(ctx, deleteOld, silence.Seconds()); err != nil {
			return fmt.Errorf("delete old heartbeats: %w", err)
		}
	}
	ids, err := collectIDs(ctx, r.pool, rescue)
	if err != nil {
		return fmt.Errorf("rescue jobs: %w", err)
	}
	for _, id := range ids {
		r.log.Warn("Job of a dead process made available again", "job_id", id)
	}
	return nil
}

// leave returns jobs that still count as running here to the queue and deletes
// this process's heartbeat.
func (r *Runner) leave(ctx context.Context) error {
	const release = `
UPDATE river_job SET state = 'available', attempt = greatest(attempt - 1, 0)
WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] = $1
RETURNING id`
	ctx, cancel := context.WithTimeout(ctx, leaveLimit)
	defer cancel()
	ids, err := collectIDs(ctx, r.pool, release, r.id)
	if err != nil {
		return fmt.Errorf("give back jobs: %w", err)
	}
	for _, id := range ids {
		r.log.Warn("Job given back to the queue", "job_id", id)
	}
	if _, err := r.pool.Exec(ctx, `DELETE FROM app_instances WHERE id = $1`, r.id); err != nil {
		return fmt.Errorf("delete heartbeat: %w", err)
	}
	return nil
}
