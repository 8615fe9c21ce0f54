package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"sluice/app/drain"
	"sluice/app/internal/actions"
	"sluice/app/internal/hooks"
	"sluice/app/internal/tracing"
)

// worker runs jobs of kind "hook".
type worker struct {
	river.WorkerDefaults[Args]
	pool    *pgxpool.Pool
	drain   *drain.Drain
	rules   func() *hooks.Rules
	actions Actions
	tracer  *tracing.Tracer
	log     *slog.Logger
}

// Actions runs a hook's action; *actions.Set implements it.
type Actions interface {
	Run(ctx context.Context, h *hooks.Hook, c actions.Call) (actions.Outcome, error)
}

// Limits for a job whose server asked to try again later: a rate limit costs no
// attempt, but only until laterUntil after the job was created.
const (
	laterMin   = time.Second
	laterMax   = time.Hour
	laterUntil = 24 * time.Hour
)

// A job whose hook is not in the rules waits: during a deploy two revisions with
// different rules share the queue, and the other revision may know the hook.
const (
	unknownHookPause = 15 * time.Second
	unknownHookLimit = time.Hour
)

// Work runs one job. A nil error means done; outcome describes the others.
func (w *worker) Work(ctx context.Context, job *river.Job[Args]) error {
	done, ok := w.drain.StartJob()
	if !ok {
		return river.JobSnooze(0) // fetched as the drain began: left to another process
	}
	defer done()

	// The job's context ends when River ends it or when the drain cuts it off.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(w.drain.Cut(), func() { cancel(context.Cause(w.drain.Cut())) })
	defer stop()

	hook, known := w.rules().Lookup(job.Args.Hook)
	if !known {
		return w.unknown(job)
	}
	log := w.log.With("job_id", job.ID, "hook", hook.Name, "source", job.Args.Source,
		"delivery_id", job.Args.DeliveryID, "sluice_id", job.Args.SluiceID)
	log.Info("Job execution started", "event", job.Args.Event, "attempt", job.Attempt)
	began := time.Now()
	ctx, span := w.tracer.Job(ctx, job.Args.Trace, hook.Name)
	span.Set("sluice.id", job.Args.SluiceID, "sluice.delivery_id", job.Args.DeliveryID, "river.job_id", strconv.FormatInt(job.ID, 10))
	out, err := w.run(ctx, hook, job, log)
	span.End(err)
	if recErr := river.RecordOutput(ctx, out); recErr != nil {
		log.Warn("Outcome not recorded", "err", recErr)
	}
	return w.outcome(ctx, job, log.With("duration_ms", time.Since(began).Milliseconds()), err)
}

// outcome decides what becomes of the job: done; back in the queue at once when
// the drain cut it off; else retried after a pause until its attempts are used.
func (w *worker) outcome(ctx context.Context, job *river.Job[Args], log *slog.Logger, err error) error {
	var later *actions.RetryLater
	switch {
	case err == nil:
		log.Info("Job execution completed")
		return nil
	case errors.Is(context.Cause(ctx), drain.ErrCut):
		log.Warn("Job cut off by the drain, back in the queue")
		return river.JobSnooze(0)
	case errors.Is(err, errNoPayload):
		log.Error("Job execution impossible", "err", err)
		return river.JobCancel(err)
	case errors.As(err, &later) && time.Since(job.CreatedAt) < laterUntil:
		pause := min(max(later.After, laterMin), laterMax)
		log.Warn("Job execution postponed", "err", err, "pause_ms", pause.Milliseconds())
		return river.JobSnooze(pause)
	default:
		log.Warn("Job execution failed", "err", err, "attempt", job.Attempt, "max_attempts", job.MaxAttempts)
		return err
	}
}

// NextRetry returns when a failed job is tried again: after its hook's pause, plus
// or minus a tenth, so that jobs that failed together are not retried together.
func (w *worker) NextRetry(job *river.Job[Args]) time.Time {
	hook, known := w.rules().Lookup(job.Args.Hook)
	if !known {
		return time.Time{} // River's own policy
	}
	pause := hook.Retries.Pause(job.Attempt)
	return time.Now().Add(pause + time.Duration((rand.Float64()-0.5)/5*float64(pause))) //nolint:gosec // jitter
}

// unknown decides about a job whose hook is not in the rules: it waits for
// unknownHookLimit, then it is cancelled.
func (w *worker) unknown(job *river.Job[Args]) error {
	if time.Since(job.CreatedAt) > unknownHookLimit {
		w.log.Error("Job cancelled, its hook is no longer in the rules", "job_id", job.ID, "hook", job.Args.Hook)
		return river.JobCancel(fmt.Errorf("hook %q is not in the rules", job.Args.Hook))
	}
	w.log.Warn("Job waits, its hook is not in the rules", "job_id", job.ID, "hook", job.Args.Hook)
	return river.JobSnooze(unknownHookPause)
}

// run runs the hook's action on the stored payload.
func (w *worker) run(ctx context.Context, hook *hooks.Hook, job *river.Job[Args], log *slog.Logger) (actions.Outcome, error) {
	if hook.Action.Kind() == "log" {
		return w.actions.Run(ctx, hook, actions.Call{}) // needs no payload
	}
	body, err := loadPayload(ctx, w.pool, job.Args.SluiceID)
	if err != nil {
		return actions.Outcome{}, err
	}
	defer func() { _ = body.close() }()
	event := &hooks.Event{
		ID: job.Args.SluiceID, Source: job.Args.Source, Event: job.Args.Event,
		DeliveryID: job.Args.DeliveryID, ReceivedAt: job.Args.ReceivedAt,
		Route: job.Args.Route, Method: job.Args.Method, Path: job.Args.Path, Query: job.Args.Query, Verified: job.Args.Verified,
		Header: body.header, Load: body.all,
	}
	// Every start counts here, also after a crash, a drain or a rate limit, which
	// cost no attempt.
	return w.actions.Run(ctx, hook, actions.Call{
		Event: event, Payload: body, Size: body.size, Attempt: len(job.AttemptedBy), Logger: log,
	})
}
