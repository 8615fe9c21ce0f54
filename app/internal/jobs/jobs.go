// Package jobs runs what the hooks ask for: it owns River's client, the worker
// for jobs of kind "hook", the heartbeat that says which app processes live,
// and the return of jobs whose process does not.
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

// Args is what a job knows; the payload lies in app_webhooks under SluiceID.
type Args struct {
	SluiceID   string    `json:"sluice_id"`
	Source     string    `json:"source"`
	DeliveryID string    `json:"delivery_id"`
	Event      string    `json:"event"`
	Hook       string    `json:"hook"`
	ReceivedAt time.Time `json:"received_at"`
	Key        string    `json:"key,omitempty"`   // concurrency key, with the hook's name before it
	Trace      string    `json:"trace,omitempty"` // traceparent of the receipt
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
	client   *river.Client[pgx.Tx]
	pool     *pgxpool.Pool
	log      *slog.Logger
	id       string
	home     string
	keep     time.Duration
	stopping sync.Once
	cancel   context.CancelFunc // ends the heartbeat and the clean-up
	tending  sync.WaitGroup
	stopped  chan struct{} // closed when River has stopped
}

// Fetching: a job inserted by this app is announced by NOTIFY, at most once
// per cooldown; the poll finds what an announcement missed.
const (
	fetchCooldown = 5 * time.Millisecond
	fetchPoll     = 200 * time.Millisecond
)

// never is longer than any job: River's own rescue would run a job twice that
// merely takes long. The heartbeat tells the living from the dead instead.
const never = 10 * 365 * 24 * time.Hour

// New makes a Runner that has not started.
func New(c Config) (*Runner, error) {
	r := &Runner{
		pool: c.Pool, log: c.Logger, keep: c.Retention,
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
		JobTimeout:           -1, // each action has its own
		RescueStuckJobsAfter: never,
		Logger:               slog.New(quiet{c.Logger.Handler()}),
	})
	if err != nil {
		return nil, fmt.Errorf("make River client: %w", err)
	}
	r.client = client
	return r, nil
}

// Start announces this process and begins to fetch jobs.
func (r *Runner) Start(ctx context.Context) error {
	if err := r.beat(ctx); err != nil {
		return err
	}
	if err := r.buryNeighbours(ctx); err != nil {
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
	tending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.cancel = cancel
	finished, unsubscribe := r.client.Subscribe(river.EventKindJobCompleted, river.EventKindJobFailed, river.EventKindJobCancelled)
	r.tending.Add(3)
	go r.tendKeys(tending, finished, unsubscribe)
	go r.tendInstances(tending)
	go r.tendReceipts(tending)
	return nil
}

// StopFetching returns at once; from then on no further job is fetched. Jobs
// that run go on.
func (r *Runner) StopFetching() {
	r.stopping.Do(func() {
		go func() {
			defer close(r.stopped)
			// River waits for the running jobs here; the drain bounds them.
			_ = r.client.Stop(context.Background())
		}()
	})
}

// Close waits until River has written down what its jobs became, gives back
// what still counts as running here, and takes this process off the list.
func (r *Runner) Close(ctx context.Context) error {
	if r.cancel == nil {
		return nil // never started
	}
	r.StopFetching()
	var err error
	select {
	case <-r.stopped:
		// Again, in case the drain began while Start was still under way.
		err = r.client.Stop(ctx)
	case <-ctx.Done():
		err = errors.New("stop River: jobs did not end in time")
	}
	r.cancel()
	r.tending.Wait()
	return errors.Join(err, r.leave(context.WithoutCancel(ctx))) // also when the others took all the time
}
