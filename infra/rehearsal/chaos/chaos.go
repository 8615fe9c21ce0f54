// Package chaos injects random faults into running sidecars, apps and PostgreSQL
// for minutes, and reports whether every acknowledged webhook was delivered.
//
// It owns the plan, which a seed decides, and the faults: processes are killed or
// frozen, and the wires (connections) between them are cut or delayed, while
// signed senders go on. At the end it repairs everything, waits until the queue
// is empty and gives ledger, records and faults to package verdict. It must never
// excuse what the contract (docs/contract.md) does not. The command
// infra/cmd/rehearsal calls it.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sluice/infra/postgres"
	"sluice/infra/rehearsal/balancer"
	"sluice/infra/rehearsal/sender"
	"sluice/infra/rehearsal/timeline"
	"sluice/infra/rehearsal/verdict"
)

const probeEvery = 250 * time.Millisecond // of the balancer

// stage is one run.
type stage struct {
	config   Config
	dir      string // of this run
	records  string // the apps' file
	server   *postgres.Server
	database string // URL of the run's own database, past all wires
	balancer *balancer.Balancer
	load     *load
	log      timeline.Log
	faults   faults
	begin    time.Time       // of the load and of the plan
	over     <-chan struct{} // closed at the end of the current act
	done     map[string]int  // steps, by kind
	work     sync.WaitGroup  // goroutines of the replicas
	strikes  sync.WaitGroup  // steps under way
	retiring sync.WaitGroup  // replicas on their way out

	databaseTurn sync.Mutex // one step at PostgreSQL at a time

	mu       sync.Mutex
	nodes    []*node // every one there has been, oldest first
	leaving  map[*node]bool
	samples  []sample
	problems []string
	suspects []string // webhooks that were stuck, whose stories are told
}

// Run plays one run. An error means that it could not be played; the report says
// what it showed.
func Run(ctx context.Context, c Config) (*Report, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("check chaos: %w", err)
	}
	start := time.Now()
	s := &stage{config: c, leaving: map[*node]bool{}, done: map[string]int{}}
	r, err := s.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("run chaos with seed %d: %w", c.Seed, err)
	}
	r.Start, r.Took, r.Logs = start, time.Since(start), s.dir
	if r.Good() && !c.KeepLogs {
		r.Logs = ""
		err = os.RemoveAll(s.dir)
	}
	return r, err
}

// run starts everything, plays the plan, and always stops what it started.
func (s *stage) run(ctx context.Context) (r *Report, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		err = errors.Join(err, s.clear())
	}()
	if err := s.set(ctx); err != nil {
		return nil, err
	}
	plan := NewPlan(s.config.Seed, s.config.For, s.config.Every, s.config.Old != "")
	s.begin = s.log.Add("chaos", "begins with seed %d", s.config.Seed)
	sending := s.play(ctx, plan)
	if s.awaitDelivery(ctx) {
		s.probeLanes(ctx)
		s.awaitDelivery(ctx)
		s.awaitRest(ctx)
	}
	memory, goroutines := s.sizes(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	e, err := s.gather(ctx)
	if err != nil {
		return nil, err
	}
	return s.report(ctx, e, &Report{
		Seed: s.config.Seed, Sending: sending, Steps: s.done, Memory: memory, Goroutines: goroutines,
	}), nil
}

// set starts PostgreSQL, the balancer and the first replicas.
func (s *stage) set(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp(s.config.Dir, fmt.Sprintf("chaos-%s-%d-", s.config.Order, s.config.Seed)); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	s.records = filepath.Join(s.dir, "records.tsv")
	if s.server, err = postgres.Start(ctx, postgres.Options{LogFile: filepath.Join(s.dir, "postgres.log")}); err != nil {
		return err
	}
	if s.database, _, err = postgres.Fresh(ctx, s.server.URL); err != nil {
		return err
	}
	if s.balancer, err = balancer.Open(balancer.Options{ProbeEvery: probeEvery}, &s.log); err != nil {
		return err
	}
	s.load = newLoad(s.config, s.balancer)
	s.work.Go(func() { s.watchTimers(ctx) })
	s.work.Go(func() { s.watchCommits(ctx) })
	for range leastReplicas {
		n, first, err := s.startReplica(ctx, false)
		if err != nil {
			return err
		}
		if !ready(ctx, first) {
			return fmt.Errorf("wait for %s to be ready: it is not (logs in %s)", n.Name, s.dir)
		}
	}
	return nil
}

// clear stops whatever the run started. Replicas stop first, because they start
// goroutines.
func (s *stage) clear() error {
	for _, n := range s.nodes {
		if !n.gone() {
			n.Close()
		}
	}
	var errs []error
	if s.balancer != nil {
		errs = append(errs, s.balancer.Close())
	}
	s.retiring.Wait()
	s.work.Wait()
	for _, n := range s.nodes {
		n.close()
	}
	if s.load != nil {
		s.load.client.close()
	}
	local.CloseIdleConnections()
	if s.server != nil {
		errs = append(errs, s.server.Close())
	}
	return errors.Join(errs...)
}

// problem records that something other than a single webhook went wrong.
func (s *stage) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.log.Add("chaos", "! %s", text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, text)
}

// report judges the run and completes the report.
func (s *stage) report(ctx context.Context, e *evidence, r *Report) *Report {
	r.Verdict = verdict.Judge(e.Evidence)
	r.Stories = s.stories(ctx, r.Verdict, e)
	r.Faults, r.Failed, r.Forced = e.Faults, len(e.failed), len(e.Forced)
	for i := range e.Faults {
		switch e.Faults[i].Kind {
		case lateTimers, slowCommits:
			r.Overloaded++
		}
	}
	for _, final := range e.final {
		if final {
			r.Final++
		}
	}
	for _, row := range e.failed {
		if !e.final[row.SluiceID] {
			s.problem("row %d, Sluice-Id %s, is a dead letter though no app refused it for good: attempts %d, %q", row.ID, row.SluiceID, row.Attempts, row.Error)
		}
	}
	r.Settings = map[string]string{
		"order": s.config.Order, "for": s.config.For.String(), "every": s.config.Every.String(),
		"rate": fmt.Sprintf("%d/s", s.config.Rate), "senders": fmt.Sprintf("%d x %d lanes", s.config.PerLane, len(s.load.lanes)),
		"previous version": fmt.Sprint(s.config.Old != ""),
	}
	s.mu.Lock()
	r.Problems = s.problems
	s.mu.Unlock()
	r.Events = s.log.Events()
	return r
}

// showProgress reports once a second until the returned function is called.
func (s *stage) showProgress() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ; ctx.Err() == nil; sender.Pause(ctx, time.Second) {
			s.progress(fmt.Sprintf("acknowledged %d (%d held), refused %d, %d replicas | %s", s.load.acknowledged.Load(),
				s.load.held.Load(), s.load.refused.Load(), len(s.serving(false)), strings.Join(s.faults.current(), ", ")))
		}
	}()
	return func() { cancel(); <-done }
}

func (s *stage) progress(line string) {
	if s.config.Progress != nil {
		s.config.Progress(fmt.Sprintf("chaos %-6s %5.1fs  %s", s.config.Order, time.Since(s.begin).Seconds(), line))
	}
}
