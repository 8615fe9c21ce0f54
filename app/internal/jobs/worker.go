package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"sluice/app/drain"
	"sluice/app/internal/actions"
	"sluice/app/internal/hooks"
)

// worker runs jobs of kind "hook".
type worker struct {
	river.WorkerDefaults[Args]
	pool  *pgxpool.Pool
	drain *drain.Drain
	rules func() *hooks.Rules
	log   *slog.Logger
}

// A job whose hook is not in the rules waits: during a deploy two revisions
// with different rules share the queue, and the other one may know it.
const (
	unknownHookPause = 15 * time.Second
	unknownHookLimit = time.Hour
)

// Work runs one job. A nil error means done; what River does with the others
// is said at outcome.
func (w *worker) Work(ctx context.Context, job *river.Job[Args]) error {
	done, ok := w.drain.StartJob()
	if !ok {
		return river.JobSnooze(0) // fetched as the drain began: for the next revision
	}
	defer done()

	// The job ends when River ends it or when the drain cuts it off.
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
	out, err := w.run(ctx, hook, job)
	if recErr := river.RecordOutput(ctx, out); recErr != nil {
		log.Warn("Outcome not recorded", "err", recErr)
	}
	return w.outcome(ctx, log.With("duration_ms", time.Since(began).Milliseconds()), err)
}

// outcome says what becomes of the job: done, back in the queue at once when
// the drain cut it off, else retried after a pause until its attempts are used.
func (w *worker) outcome(ctx context.Context, log *slog.Logger, err error) error {
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
	default:
		log.Warn("Job execution failed", "err", err)
		return err
	}
}

func (w *worker) unknown(job *river.Job[Args]) error {
	if time.Since(job.CreatedAt) > unknownHookLimit {
		w.log.Error("Job cancelled, its hook is no longer in the rules", "job_id", job.ID, "hook", job.Args.Hook)
		return river.JobCancel(fmt.Errorf("hook %q is not in the rules", job.Args.Hook))
	}
	w.log.Warn("Job waits, its hook is not in the rules", "job_id", job.ID, "hook", job.Args.Hook)
	return river.JobSnooze(unknownHookPause)
}

// run carries out the hook's action.
func (w *worker) run(ctx context.Context, hook hooks.Hook, job *river.Job[Args]) (actions.Outcome, error) {
	if hook.Action.Exec == nil { // log: the line above is all there is to do
		return actions.Outcome{}, nil
	}
	body, err := loadPayload(ctx, w.pool, job.Args.SluiceID)
	if err != nil {
		return actions.Outcome{}, err
	}
	defer func() { _ = body.close() }()
	e := actions.Exec{Argv: hook.Action.Exec.Argv, Timeout: time.Duration(hook.Action.Exec.Timeout)}
	return e.Run(ctx, actions.Call{
		ID: job.Args.SluiceID, Source: job.Args.Source, DeliveryID: job.Args.DeliveryID,
		Event: job.Args.Event, Hook: hook.Name, ReceivedAt: job.Args.ReceivedAt,
		Attempt: len(job.AttemptedBy), Body: body,
	})
}
