// Package jobs runs the actions of hooks as background jobs. It owns the client of
// River, the job queue in PostgreSQL; the worker for jobs of kind "hook"; the
// heartbeat by which app processes know each other to be alive; and the return of
// a dead process's jobs to the queue.
//
// It must never accept a webhook (intake does) and never change a rule. The
// service package starts it, tells it to stop fetching when the drain begins
// and closes it at the end.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"sluice/app/drain"
	"sluice/app/internal/hooks"
	"sluice/app/internal/tracing"
)

// Args is what is stored with a job; the payload is in app_webhooks under
// SluiceID.
type Args struct {
	SluiceID   string    `json:"sluice_id"`
	Source     string    `json:"source"` // the sender
	Route      string    `json:"route,omitempty"`
	Method     string    `json:"method,omitempty"`
	Path       string    `json:"path,omitempty"`
	Query      string    `json:"query,omitempty"`
	Verified   bool      `json:"verified,omitempty"` // jobs of an earlier release say nothing
	DeliveryID string    `json:"delivery_id"`
	Event      string    `json:"event"`
	Hook       string    `json:"hook"`
	ReceivedAt time.Time `json:"received_at"`
	Key        string    `json:"key,omitempty"`   // concurrency key, with the hook's name before it
	Trace      string    `json:"trace,omitempty"` // traceparent of the span that received the webhook
}

// Kind is the kind of every job of the app, as in river_job.kind.
func (Args) Kind() string { return "hook" }

// Config sets up a Runner.
type Config struct {
	Pool       *pgxpool.Pool
	Drain      *drain.Drain
	Rules      func() *hooks.Rules // the rules in force
	Actions    Actions
	Tracer     *tracing.Tracer // may be nil
	MaxWorkers int
	Retention  time.Duration // how long receipts are kept
	PollOnly   bool          // no LISTEN: it needs a session
	Logger     *slog.Logger
}

// Runner fetches and runs jobs. Use [New], [Runner.Start] and [Runner.Close].
type Runner struct {
	client     *river.Client[pgx.Tx]
	pool       *pgxpool.Pool
	log        *slog.Logger
	id         string
	home       string
	retention  time.Duration
	stopping   sync.Once
	cancel     context.CancelFunc // ends the loops in background
	background sync.WaitGroup     // heartbeat, concurrency keys, retention
	stopped    chan struct{}      // closed when River has stopped
}

// River announces inserted jobs by NOTIFY, at most once per fetchCooldown; the
// poll finds jobs whose announcement was lost.
const (
	fetchCooldown = 5 * time.Millisecond
	fetchPoll     = 200 * time.Millisecond
)

// noRescue is longer than any job. It switches off River's own rescue, which
// would run a long job twice. Here the heartbeat tells which processes are dead.
const noRescue = 10 * 365 * 24 * time.Hour

// New makes a Runner that has not started.
func New(c Config) (*Runner, error) {
	r := &Runner{
		pool: c.Pool, log: c.Logger, retention: c.Retention,
		id:      "app-" + uuid.NewString(),
		home:    home(),
		stopped: make(chan struct{}),
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{pool: c.Pool, drain: c.Drain, rules: c.Rules, actions: c.Actions, tracer: c.Tracer, log: c.Logger})
	client, err := river.NewClient(riverpgxv5.New(c.Pool), &river.Config{
		ID:                   r.id,
		Queues:               map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: c.MaxWorkers}},
		Workers:              workers,
		FetchCooldown:        fetchCooldown,
		FetchPollInterval:    fetchPoll,
		PollOnly:             c.PollOnly,
		JobTimeout:           -1, // each action has its own timeout
		RescueStuckJobsAfter: noRescue,
		Logger:               slog.New(warnings{c.Logger.Handler()}),
	})
	if err != nil {
		return nil, fmt.Errorf("make River client: %w", err)
	}
	r.client = client
	return r, nil
}

// Start writes the first heartbeat, returns the jobs of dead processes to the queue
// and begins to fetch jobs.
func (r *Runner) Start(ctx context.Context) error {
	if err := r.beat(ctx); err != nil {
		return err
	}
	if err := r.removeEnded(ctx); err != nil {
		return err
	}
	if err := r.rescue(ctx, false); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("start River: %w", err)
	}
	if err := r.client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start River: %w", err)
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.cancel = cancel
	finished, unsubscribe := r.client.Subscribe(river.EventKindJobCompleted, river.EventKindJobFailed, river.EventKindJobCancelled)
	r.background.Add(3)
	go r.promoteLoop(background, finished, unsubscribe)
	go r.heartbeatLoop(background)
	go r.retentionLoop(background)
	return nil
}

// StopFetching returns at once; from then on no job is fetched. Running jobs
// continue.
func (r *Runner) StopFetching() {
	r.stopping.Do(func() {
		go func() {
			defer close(r.stopped)
			// River waits for the running jobs here; the drain limits their time.
			_ = r.client.Stop(context.Background())
		}()
	})
}

// Close waits until River has recorded the results of its jobs, returns jobs that
// still count as running here to the queue, and deletes this process's heartbeat.
func (r *Runner) Close(ctx context.Context) error {
	if r.cancel == nil {
		return nil // never started
	}
	r.StopFetching()
	var err error
	select {
	case <-r.stopped:
		// Stop again, in case the drain began while Start was still under way.
		err = r.client.Stop(ctx)
	case <-ctx.Done():
		err = errors.New("stop River: jobs did not end in time")
	}
	r.cancel()
	r.background.Wait()
	return errors.Join(err, r.leave(context.WithoutCancel(ctx))) // even if the steps before took all the time
}
