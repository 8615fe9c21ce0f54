package buffer

import (
	"context"
	"slices"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// lateAnswer is how the wait for one awaited row ended.
type lateAnswer struct {
	queueID   int64
	completed bool
	reason    string // why it is delivered again
	recorded  chan error
	lead      chan struct{} // it is this one's turn to record
}

// lateAnswers gathers late answers while a statement about others is under way,
// as queue does for appends: when an app hangs, hundreds of them end in a second.
type lateAnswers struct {
	mu      sync.Mutex
	waiting []*lateAnswer
	leading bool // somebody records, or has been told to
}

// passOn gives the lead to the one who has waited longest. The caller holds the
// lock and has the lead.
func (l *lateAnswers) passOn() {
	if l.leading = len(l.waiting) > 0; l.leading {
		l.waiting[0].lead <- struct{}{}
	}
}

// withdraw takes an answer back whose caller waits no longer.
func (l *lateAnswers) withdraw(a *lateAnswer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.waiting, a); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
	select {
	case <-a.lead:
		l.passOn()
	default:
	}
}

const maxLateAnswers = 256 // recorded in one statement

const (
	awaitedDoneSQL = `
UPDATE webhook_queue SET status = 'completed', processed_at = clock_timestamp(), awaited_by = NULL, dedupe_key = NULL
WHERE id = ANY ($1::bigint[]) AND status <> 'completed'`
	awaitedBackSQL = `
UPDATE webhook_queue q SET status = 'pending', awaited_by = NULL, claim_epoch = NULL, last_error = w.reason
FROM unnest($1::bigint[], $2::text[]) AS w(id, reason)
WHERE q.id = w.id AND q.awaited_by = $3 AND q.` + active
)

// SettleAwaited ends the wait for a late answer. A row that was given up
// meanwhile (this replica was declared dead) is still completed by a success,
// and left alone by a failure. Answers that come while others are being recorded
// share one statement. Whoever has the lead records one batch, with its own
// answer in it, and passes the lead on.
func (s *Store) SettleAwaited(ctx context.Context, queueID int64, completed bool, reason string) error {
	mine := &lateAnswer{queueID: queueID, completed: completed, reason: label(reason, maxLabel), recorded: make(chan error, 1), lead: make(chan struct{}, 1)}
	l := &s.late
	l.mu.Lock()
	l.waiting = append(l.waiting, mine)
	if !l.leading {
		l.passOn() // to this one: whoever leads leaves nobody waiting without
	}
	l.mu.Unlock()
	select {
	case <-mine.lead:
		s.recordLate(ctx)
		return <-mine.recorded
	case err := <-mine.recorded:
		return err
	case <-ctx.Done():
		l.withdraw(mine)
		return unavailable("settle awaited webhook", ctx.Err())
	}
}

// recordLate records a batch of what waits.
func (s *Store) recordLate(ctx context.Context) {
	l := &s.late
	l.mu.Lock()
	n := min(len(l.waiting), maxLateAnswers)
	batch := slices.Clone(l.waiting[:n])
	l.waiting = slices.Delete(l.waiting, 0, n)
	l.mu.Unlock()
	err := s.settleLate(context.WithoutCancel(ctx), batch) // others wait for it; do bounds it
	l.mu.Lock()
	l.passOn()
	l.mu.Unlock()
	for _, a := range batch {
		a.recorded <- err
	}
}

func (s *Store) settleLate(ctx context.Context, batch []*lateAnswer) error {
	var done, back []int64
	var reasons []string
	for _, a := range batch {
		if a.completed {
			done = append(done, a.queueID)
			continue
		}
		back, reasons = append(back, a.queueID), append(reasons, a.reason)
	}
	slices.Sort(done) // statements that lock rows in one order do not deadlock
	return s.do(ctx, s.pool, queryTimeout, "settle awaited webhooks", func(ctx context.Context, c *pgxpool.Conn) error {
		if len(done) > 0 {
			tag, err := c.Exec(ctx, awaitedDoneSQL, done)
			if err != nil {
				return err
			}
			s.flow.ended.Add(tag.RowsAffected())
		}
		if len(back) == 0 {
			return nil
		}
		_, err := c.Exec(ctx, awaitedBackSQL, back, reasons, s.instance)
		return err
	})
}

const (
	awaitedSQL = `
SELECT q.id, q.sluice_id FROM webhook_queue q
WHERE q.` + active + ` AND q.awaited_by IS NOT NULL AND q.awaited_by = $1`
	freeAwaitedSQL = `
UPDATE webhook_queue q SET status = 'pending', awaited_by = NULL, claim_epoch = NULL,
	last_error = 'nobody awaits the answer: it is not known whether the app took it'
WHERE q.id = ANY ($2::bigint[]) AND q.awaited_by = $1 AND q.` + active
)

// FreeAwaited makes pending what is awaited in this replica's name though nobody
// waits for it, and returns how many rows that were. An AppendAwaited whose answer
// was lost leaves such a row behind, at once or later, so call it every few
// seconds and soon after such a failure: without it the row's lane would stay
// shut. awaited says whether somebody waits for a webhook, by Sluice-Id. It is
// asked after the rows were read: who registers a webhook before its row is
// written is safe.
func (s *Store) FreeAwaited(ctx context.Context, awaited func(id string) bool) (int64, error) {
	var freed int64
	err := s.do(ctx, s.vital, vitalTimeout, "free awaited webhooks", func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, awaitedSQL, s.instance)
		if err != nil {
			return err
		}
		var queueID int64
		var id uuid.UUID
		var orphans []int64
		_, err = pgx.ForEachRow(rows, []any{&queueID, &id}, func() error {
			if !awaited(id.String()) {
				orphans = append(orphans, queueID)
			}
			return nil
		})
		if err != nil || len(orphans) == 0 {
			return err
		}
		tag, err := c.Exec(ctx, freeAwaitedSQL, s.instance, orphans)
		freed += tag.RowsAffected()
		return err
	})
	return freed, err
}
