// Package rehearsal plays a deploy, a crash or a drain on one machine, with
// real processes, a real PostgreSQL and signed webhooks, and reports whether a
// webhook was lost.
//
// It owns the scenarios and the steps of a run: start, send, play, wait for
// delivery, gather the evidence, judge. It must never rely on the sidecar's
// counters to judge webhooks: the senders' ledger says what was acknowledged, the
// recorder's file what was delivered, the app's job table in which order.
// The command infra/cmd/rehearsal calls it.
package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice/infra/postgres"
	"sluice/infra/rehearsal/balancer"
	"sluice/infra/rehearsal/replica"
	"sluice/infra/rehearsal/report"
	"sluice/infra/rehearsal/sender"
	"sluice/infra/rehearsal/timeline"
	"sluice/infra/rehearsal/verdict"
)

const cleanupLimit = 30 * time.Second

// stage is one run.
type stage struct {
	config   Config
	dir      string // of this run
	records  string // the recorder's file
	hooks    string
	database string // URL of this run's own database
	drop     func(context.Context) error

	log      timeline.Log
	balancer *balancer.Balancer
	fleet    *sender.Fleet
	work     sync.WaitGroup // goroutines of the run
	begin    time.Time      // of the load
	sent     time.Time      // end of the load

	mu        sync.Mutex
	replicas  []*replica.Replica
	faults    []string
	latencies report.Latencies
	appHealth []appHealth
}

// Run plays the scenario once. An error means that it could not be played; the
// report says what it showed.
func Run(ctx context.Context, c Config) (*report.Report, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("check rehearsal: %w", err)
	}
	start := time.Now()
	s := &stage{config: c}
	r, err := s.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("rehearse %s: %w", c.Scenario, err)
	}
	r.Scenario, r.About = c.Scenario, scenarios[c.Scenario].about
	r.Settings = c.settings()
	r.Without = c.home().bare
	r.Start, r.Took = start, time.Since(start)
	if r.Good() && !c.KeepLogs {
		err = os.RemoveAll(s.dir)
	}
	return r, err
}

// run starts everything, plays the scenario, and always stops what it started.
func (s *stage) run(ctx context.Context) (r *report.Report, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		err = errors.Join(err, s.clear())
	}()
	if err := s.set(ctx); err != nil {
		return nil, err
	}
	if err := s.play(ctx); err != nil {
		return nil, err
	}
	s.awaitDelivery(ctx)
	evidence, err := s.evidence(ctx)
	if err != nil {
		return nil, err
	}
	return s.report(verdict.Judge(evidence), evidence), nil
}

// set prepares everything but the replicas.
func (s *stage) set(ctx context.Context) error {
	var err error
	if s.dir, err = os.MkdirTemp(s.config.Dir, "run-"+s.config.Scenario+"-"); err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	s.records = filepath.Join(s.dir, "records.tsv")
	if s.hooks, err = hooksFile(s.dir, s.config.Programs.Recorder, s.records); err != nil {
		return err
	}
	if s.database, s.drop, err = postgres.Fresh(ctx, s.config.DatabaseURL); err != nil {
		return err
	}
	options := balancer.Options{ProbeEvery: s.config.ProbeEvery, Retries: s.config.BalancerRetries}
	if s.config.home().bare {
		options.Probes = []string{"/healthz"}
	}
	if s.balancer, err = balancer.Open(options, &s.log); err != nil {
		return err
	}
	s.fleet = sender.New(sender.Options{
		URL: s.balancer.URL(), Rate: s.config.Rate, Count: int(float64(s.config.Rate) * s.config.Duration.Seconds()),
		PerLane: s.config.Senders, Lanes: s.config.Lanes, Bytes: s.config.Bytes,
		Retry: s.config.Retry, MaxTries: s.config.MaxTries, Secrets: secrets, Seed: s.config.Seed,
	})
	return nil
}

// play starts the first replica, the load and the scenario, and returns when
// all webhooks are sent and the scenario is over.
func (s *stage) play(ctx context.Context) error {
	first, err := s.start(ctx, "rev1", startOptions{})
	if err != nil {
		return err
	}
	if err := s.ready(ctx, first); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.begin = s.log.Add("senders", "start: %d webhooks/s for %s", s.config.Rate, s.config.Duration)
	stopProgress := s.showProgress()
	defer stopProgress()
	sent := make(chan struct{})
	s.work.Go(func() {
		defer close(sent)
		s.fleet.Run(ctx)
		s.sent = s.log.Add("senders", "done")
	})
	if err := scenarios[s.config.Scenario].play(ctx, s, first); err != nil {
		cancel()
		<-sent
		return err
	}
	<-sent
	return ctx.Err()
}

// clear stops whatever the run started. Replicas stop first, because their
// containers start goroutines.
func (s *stage) clear() error {
	for _, r := range s.replicas {
		r.Close()
	}
	var errs []error
	if s.balancer != nil {
		errs = append(errs, s.balancer.Close())
	}
	s.work.Wait()
	if s.fleet != nil {
		s.fleet.Close()
	}
	local.CloseIdleConnections()
	if s.drop != nil {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupLimit)
		defer cancel()
		errs = append(errs, s.drop(ctx))
	}
	return errors.Join(errs...)
}

// fault records that something other than a webhook went wrong.
func (s *stage) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

// at waits until the given part of the sending time has passed.
func (s *stage) at(ctx context.Context, part float64) {
	pause(ctx, time.Until(s.begin.Add(time.Duration(part*float64(s.config.Duration)))))
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
