package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/infra/rehearsal/report"
	"sluice/infra/rehearsal/verdict"
)

// jobsSQL reads the app's jobs. A job that is returned to the queue can lose its
// attempt, so the number of processes that took it counts as well.
const jobsSQL = `
SELECT id, coalesce(args->>'sluice_id', ''), state::text, greatest(attempt, cardinality(attempted_by)), created_at
FROM river_job WHERE kind = 'hook' ORDER BY id`

// evidence gathers what the verdict needs.
func (s *stage) evidence(ctx context.Context) (verdict.Evidence, error) {
	e := verdict.Evidence{
		Webhooks:        s.fleet.Ledger.Webhooks(),
		AcrossReplicas:  s.config.Order == "strict",
		BalancerRetries: s.config.BalancerRetries,
	}
	var err error
	if e.Records, err = s.readRecords(); err != nil {
		return e, err
	}
	conn, err := pgx.Connect(ctx, s.database)
	if err != nil {
		return e, fmt.Errorf("connect to database: %w", err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, jobsSQL)
	if err != nil {
		return e, fmt.Errorf("read jobs: %w", err)
	}
	e.Jobs, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (j verdict.Job, err error) {
		err = row.Scan(&j.ID, &j.SluiceID, &j.State, &j.Attempt, &j.Created)
		return j, err
	})
	if err != nil {
		return e, fmt.Errorf("read jobs: %w", err)
	}
	return e, nil
}

func (s *stage) readRecords() ([]verdict.Record, error) {
	file, err := os.Open(s.records)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // no job has run yet
	}
	if err != nil {
		return nil, fmt.Errorf("open records: %w", err)
	}
	defer file.Close()
	return verdict.ReadRecords(file)
}

// report puts the run together.
func (s *stage) report(v *verdict.Verdict, e verdict.Evidence) *report.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := waits(e)
	s.latencies.FirstReplay = firstReplays(s.appHealth, held)
	s.latencies.HeldToTaken = heldToTaken(s.begin, held)
	return &report.Report{
		Verdict: v, Faults: s.faults, Latencies: s.latencies,
		Events: s.log.Events(), States: s.log.States(),
		Begin: s.begin, Sending: s.sent.Sub(s.begin), Curve: curve(s.begin, time.Now(), held),
		Open: open(s.begin, time.Now(), e),
	}
}
