package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// ErrNoJob means that there is no job with that number.
var ErrNoJob = errors.New("no such job")

// Job is a job as an operator sees it.
type Job struct {
	ID          int64           `json:"id"`
	State       string          `json:"state"`
	Args                        // sluice_id, source, route, method, path, query, verified, delivery_id, event, hook, received_at, key
	Attempt     int             `json:"attempt"`
	MaxAttempts int             `json:"max_attempts"`
	Starts      int             `json:"starts"` // how often it was started; a crash or drain costs no attempt
	Created     time.Time       `json:"created_at"`
	Started     *time.Time      `json:"started_at,omitempty"`
	Finished    *time.Time      `json:"finished_at,omitempty"`
	Next        *time.Time      `json:"next_at,omitempty"` // when it is tried (again)
	Outcome     json.RawMessage `json:"outcome,omitempty"` // of the last attempt
	Errors      []JobError      `json:"errors,omitempty"`
}

// JobError is one failed attempt.
type JobError struct {
	At      time.Time `json:"at"`
	Attempt int       `json:"attempt"`
	Error   string    `json:"error"`
}

// Admin reads and changes jobs from outside the process that runs them. Use
// [NewAdmin].
type Admin struct {
	client *river.Client[pgx.Tx]
	pool   *pgxpool.Pool
}

// NewAdmin returns an Admin that uses the pool; the caller closes the pool.
func NewAdmin(pool *pgxpool.Pool) (*Admin, error) {
	c, err := river.NewClient(riverpgxv5.New(pool), &river.Config{})
	if err != nil {
		return nil, fmt.Errorf("make River client: %w", err)
	}
	return &Admin{client: c, pool: pool}, nil
}

// List returns the newest jobs first, only those of a state and of a hook when
// these are not empty.
func (a *Admin) List(ctx context.Context, state, hook string, limit int) ([]Job, error) {
	p := river.NewJobListParams().Kinds(Args{}.Kind()).First(limit).OrderBy(river.JobListOrderByID, river.SortOrderDesc)
	if state != "" {
		p = p.States(rivertype.JobState(state))
	}
	if hook != "" {
		p = p.Where("args @> @hook::jsonb", river.NamedArgs{"hook": string(mustJSON(map[string]string{"hook": hook}))})
	}
	found, err := a.client.JobList(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	list := make([]Job, 0, len(found.Jobs))
	for _, row := range found.Jobs {
		list = append(list, view(row))
	}
	return list, nil
}

// Show returns one job.
func (a *Admin) Show(ctx context.Context, id int64) (Job, error) {
	row, err := a.client.JobGet(ctx, id)
	return found(row, err, "show")
}

// Cancel cancels a job. If it runs, the process that runs it is notified and ends
// it within seconds.
func (a *Admin) Cancel(ctx context.Context, id int64) (Job, error) {
	row, err := a.client.JobCancel(ctx, id)
	return found(row, err, "cancel")
}

// Retry makes a job run again now, whether it had ended or waits for its next
// attempt. A job with a concurrency key waits for its turn. A running job is not
// changed.
func (a *Admin) Retry(ctx context.Context, id int64) (Job, error) {
	const wait = `UPDATE river_job SET state = 'pending' WHERE id = $1 AND state = 'available'`
	before, err := a.Show(ctx, id)
	if err != nil {
		return Job{}, err
	}
	var row *rivertype.JobRow
	err = pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if before.Key != "" {
			if err := lockKeys(ctx, tx, []string{before.Key}); err != nil {
				return err
			}
		}
		if row, err = a.client.JobRetryTx(ctx, tx, id); err != nil || before.Key == "" {
			return err
		}
		if _, err := tx.Exec(ctx, wait, id); err != nil {
			return err
		}
		if err := promote(ctx, tx, []string{before.Key}); err != nil {
			return err
		}
		row, err = a.client.JobGetTx(ctx, tx, id)
		return err
	})
	return found(row, err, "retry")
}

func found(row *rivertype.JobRow, err error, verb string) (Job, error) {
	if errors.Is(err, rivertype.ErrNotFound) {
		return Job{}, ErrNoJob
	}
	if err != nil {
		return Job{}, fmt.Errorf("%s job: %w", verb, err)
	}
	return view(row), nil
}

func view(row *rivertype.JobRow) Job {
	j := Job{
		ID: row.ID, State: string(row.State), Attempt: row.Attempt, MaxAttempts: row.MaxAttempts,
		Starts: len(row.AttemptedBy), Created: row.CreatedAt, Started: row.AttemptedAt, Finished: row.FinalizedAt,
	}
	// Arguments that cannot be read stay empty, so that an operator sees the job.
	_ = json.Unmarshal(row.EncodedArgs, &j.Args)
	if row.FinalizedAt == nil && row.State != rivertype.JobStateRunning {
		j.Next = &row.ScheduledAt
	}
	if out := row.Output(); out != nil {
		j.Outcome = out
	}
	for _, e := range row.Errors {
		j.Errors = append(j.Errors, JobError{e.At, e.Attempt, e.Error})
	}
	return j
}

func mustJSON(v map[string]string) []byte {
	b, _ := json.Marshal(v) //nolint:errchkjson // a map of strings always encodes
	return b
}
