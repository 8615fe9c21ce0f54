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

// A process says every heartbeat that it lives, and counts as dead after
// silence. That bounds how long a killed process keeps its jobs: 20 seconds,
// and no time at all when its successor starts in the same container.
const (
	heartbeat  = 3 * time.Second
	silence    = 15 * time.Second
	queryLimit = 5 * time.Second
	leaveLimit = 2 * time.Second // at the end of a drain every second counts
)

// tendInstances keeps this process on the list and gives back the jobs of
// those that are dead.
func (r *Runner) tendInstances(ctx context.Context) {
	defer r.tending.Done()
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	// While the database is away nobody can say that they live. So others are
	// called dead only after this process itself has been heard for as long.
	heardSince := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := r.beat(ctx); err != nil {
			heardSince = time.Now()
			r.log.Warn("Heartbeat failed", "err", err)
			continue
		}
		if err := r.rescue(ctx, time.Since(heardSince) > silence); err != nil {
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

// buryNeighbours takes processes off the list that ran where this one runs and
// are gone.
func (r *Runner) buryNeighbours(ctx context.Context) error {
	const neighbours = `SELECT id, pid FROM app_instances WHERE home = $1 AND id <> $2`
	if r.home == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	rows, err := r.pool.Query(ctx, neighbours, r.home, r.id)
	if err != nil {
		return fmt.Errorf("look for neighbours: %w", err)
	}
	type neighbour struct {
		ID  string
		PID int
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[neighbour])
	if err != nil {
		return fmt.Errorf("look for neighbours: %w", err)
	}
	for _, n := range found {
		// Its number may have become ours: then it is gone, too.
		if n.PID != os.Getpid() && !errors.Is(syscall.Kill(n.PID, 0), syscall.ESRCH) {
			continue
		}
		if _, err := r.pool.Exec(ctx, `DELETE FROM app_instances WHERE id = $1`, n.ID); err != nil {
			return fmt.Errorf("bury neighbour: %w", err)
		}
	}
	return nil
}

// rescue makes jobs available again that count as running in a process that is
// off the list or, when judging is allowed, silent for too long. A crash is not
// the job's fault, so it costs no attempt; but a job that keeps taking its
// process down waits longer each time, up to a minute.
func (r *Runner) rescue(ctx context.Context, judge bool) error {
	const bury = `DELETE FROM app_instances WHERE seen_at < now() - make_interval(secs => $1)`
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
	if judge {
		if _, err := r.pool.Exec(ctx, bury, silence.Seconds()); err != nil {
			return fmt.Errorf("bury dead processes: %w", err)
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

// leave gives back jobs that still count as running here and takes this
// process off the list.
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
		return fmt.Errorf("remove heartbeat: %w", err)
	}
	return nil
}
