package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/infra/rehearsal/report"
	"sluice/infra/rehearsal/verdict"
)

const settleEvery = 250 * time.Millisecond

// What is still under way: rows the sidecar has yet to hand over, rows it gave
// up on, and jobs that have yet to run to their end.
const openSQL = `
SELECT (SELECT count(*) FROM webhook_queue WHERE status IN ('pending', 'processing')),
       (SELECT count(*) FROM webhook_queue WHERE status = 'failed'),
       (SELECT count(*) FROM river_job WHERE kind = 'hook' AND state NOT IN ('completed', 'cancelled', 'discarded'))`

// A job that went back to the queue may have its attempt taken off again, so
// the number of processes that took it counts as well.
const jobsSQL = `
SELECT id, coalesce(args->>'sluice_id', ''), state::text, greatest(attempt, cardinality(attempted_by)), created_at
FROM river_job WHERE kind = 'hook' ORDER BY id`

// open is what openSQL counts, and the webhooks that are acknowledged and not
// recorded.
type open struct{ rows, failed, jobs, missing int }

func (o open) nothing() bool { return o.rows == 0 && o.jobs == 0 && o.missing == 0 }

// settle waits until everything that was acknowledged has been delivered, or
// nothing has moved for a while.
func (s *stage) settle(ctx context.Context) {
	s.log.Add("rehearsal", "waits for what is still under way")
	var last open
	var problem error
	for moved := time.Now(); ctx.Err() == nil && time.Since(moved) < s.config.SettleLimit; pause(ctx, settleEvery) {
		var now open
		if now, problem = s.open(ctx); problem != nil {
			continue
		}
		if now.nothing() {
			s.log.Add("rehearsal", "everything is delivered")
			if now.failed > 0 {
				s.fault("%d rows of webhook_queue ended as failed", now.failed)
			}
			return
		}
		if now != last {
			last, moved = now, time.Now()
		}
		s.progress(fmt.Sprintf("settling: %d held rows, %d jobs, %d webhooks to come", now.rows, now.jobs, now.missing))
	}
	if problem != nil {
		s.fault("cannot see what is under way: %v", problem)
		return
	}
	s.fault("nothing moved for %s with %d held rows, %d failed rows, %d jobs and %d acknowledged webhooks to come",
		s.config.SettleLimit, last.rows, last.failed, last.jobs, last.missing)
}

func (s *stage) open(ctx context.Context) (open, error) {
	ctx, cancel := context.WithTimeout(ctx, localLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.database)
	if err != nil {
		return open{}, fmt.Errorf("connect to database: %w", err)
	}
	defer conn.Close(ctx)
	var o open
	if err := conn.QueryRow(ctx, openSQL).Scan(&o.rows, &o.failed, &o.jobs); err != nil {
		return open{}, fmt.Errorf("count open rows: %w", err)
	}
	records, err := s.readRecords()
	if err != nil {
		return open{}, err
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

// evidence gathers what the run left behind.
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
	return &report.Report{
		Verdict: v, Faults: s.faults, Latencies: s.latencies,
		Events: s.log.Events(), States: s.log.States(),
		Begin: s.begin, Sending: s.sent.Sub(s.begin), Curve: curve(s.begin, time.Now(), held),
	}
}

// showProgress reports once a second until the returned function is called.
func (s *stage) showProgress() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			c := s.fleet.Ledger.Count()
			s.progress(fmt.Sprintf("sent %d, acknowledged %d (%d held), refused %d | %s",
				c.Sent, c.Acknowledged, c.Held, c.Refused, describe(s.log.Now())))
			pause(ctx, time.Second)
		}
	}()
	return func() { cancel(); <-done }
}

func describe(states map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(states)) {
		parts = append(parts, name+" "+states[name])
	}
	return strings.Join(parts, ", ")
}

func (s *stage) progress(line string) {
	if s.config.Progress != nil {
		s.config.Progress(fmt.Sprintf("%-13s %5.1fs  %s", s.config.Scenario, time.Since(s.begin).Seconds(), line))
	}
}
