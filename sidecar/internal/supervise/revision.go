package supervise

import (
	"context"
	"errors"
	"time"

	"sluice/sidecar/internal/loop"
)

// revisionLoop remembers the revision whose app has been healthy, in the
// database. A replacement replica of it need not wait for its app before it
// takes webhooks: its own sidecar can hold, and the revision has shown before
// that it works. A new revision waits as STARTUP_GATE says.
func (r *Replica) revisionLoop(ctx context.Context) {
	if r.cfg.Revision == "" {
		return
	}
	r.untilDone(ctx, r.learnRevision)
	r.untilDone(ctx, r.proveRevision)
}

var errNotYet = errors.New("not yet")

func (r *Replica) learnRevision(ctx context.Context) error {
	if !r.joined.Load() {
		return errNotYet
	}
	proven, err := r.store.RevisionProven(ctx, r.cfg.Revision)
	if err != nil {
		return err
	}
	r.proven.Store(proven)
	if proven {
		r.log.Info("Revision has been healthy before, not waiting for the app", "revision", r.cfg.Revision)
	}
	return nil
}

func (r *Replica) proveRevision(ctx context.Context) error {
	if r.proven.Load() {
		return nil
	}
	if !r.health.Ever() {
		return errNotYet
	}
	return r.store.ProveRevision(ctx, r.cfg.Revision)
}

// untilDone tries until it is done or ctx ends. A failure is told by the vitals.
func (r *Replica) untilDone(ctx context.Context, do func(context.Context) error) {
	for wait := time.Duration(0); loop.Tick(ctx, wait, nil); wait = time.Second {
		if do(ctx) == nil {
			return
		}
	}
}
