package buffer

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Result is how an attempt ended.
type Result int

// Completed is never fenced: a 2xx is a fact, whoever holds the lease by then.
// The others only change a row while the lease that it was claimed under is
// still this replica's.
const (
	Completed Result = iota + 1 // the app has it
	Failed                      // given up: the dead letter
	Tried                       // an attempt was made, or is about to be, and counts; the row stays
)

// Outcome is the result of one attempt.
type Outcome struct {
	QueueID int64
	Epoch   int64 // of the claim
	Result  Result
	Attempt int    // how many attempts have been made
	Reason  string // what went wrong; never a secret or part of a body
	// Suspect marks a dead letter of a time in which the app accepted nothing: the
	// app may have been at fault, not the webhook.
	Suspect bool
}

// Each takes ids, epochs, attempts, reasons and marks. The lease is asked for by a
// subquery of one value: as a join the planner may begin with the lease, and go
// through all rows of its bucket for each outcome. A row that has ended loses
// its dedupe key: only active rows need one, and an operator's UPDATE that makes
// rows pending again must not fail because two of them were copies.
const (
	settleFromSQL = `
FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::text[], $5::boolean[]) AS w(id, epoch, attempt, reason, suspect)`
	fencedSQL = `
WHERE q.id = w.id AND q.awaited_by IS NULL AND q.` + alive + `
	AND w.epoch = (SELECT l.epoch FROM webhook_leases l WHERE l.bucket = q.bucket AND l.holder = $6)`
	completedSQL = `
UPDATE webhook_queue q SET status = 'completed', processed_at = clock_timestamp(), awaited_by = NULL,
	dedupe_key = NULL, attempts = GREATEST(q.attempts, w.attempt)` + settleFromSQL + `
WHERE q.id = w.id AND q.status <> 'completed'`
	failedSQL = `
UPDATE webhook_queue q SET status = 'failed', processed_at = clock_timestamp(),
	dedupe_key = NULL, attempts = w.attempt, last_error = w.reason, suspect = w.suspect` + settleFromSQL + fencedSQL
	triedSQL = `
UPDATE webhook_queue q SET attempts = w.attempt, last_error = w.reason` + settleFromSQL + fencedSQL
)

var settleSQL = [...]string{Completed: completedSQL, Failed: failedSQL, Tried: triedSQL}

// Settle records outcomes, one statement for each kind among them. It may be
// repeated with the same outcomes when it failed.
func (s *Store) Settle(ctx context.Context, outcomes []Outcome) error {
	// Rows are written in the order of their ids, as an operator's UPDATE meets
	// them: two that go different ways would deadlock.
	outcomes = slices.Clone(outcomes)
	slices.SortStableFunc(outcomes, func(a, b Outcome) int { return cmp.Compare(a.QueueID, b.QueueID) })
	var errs []error
	for result := Completed; result <= Tried; result++ {
		var of columns
		for _, o := range outcomes {
			if o.Result == result {
				of.add(o)
			}
		}
		if len(of.ids) == 0 {
			continue
		}
		args := []any{nil, of.ids, of.epochs, of.attempts, of.reasons, of.suspects}
		if result != Completed {
			args = append(args, s.instance)
		}
		errs = append(errs, s.do(ctx, s.pool, queryTimeout, "settle rows", func(ctx context.Context, c *pgxpool.Conn) error {
			args[0] = s.planned.mode(c.Conn())
			tag, err := c.Exec(ctx, settleSQL[result], args...)
			if result != Tried {
				s.flow.ended.Add(tag.RowsAffected())
			}
			return err
		}))
	}
	return errors.Join(errs...)
}

// columns are outcomes as parameters.
type columns struct {
	ids, epochs []int64
	attempts    []int32
	reasons     []string
	suspects    []bool
	at          map[int64]int
}

// add takes the next outcome. Of two for one row the later one counts: a
// statement would apply either.
func (c *columns) add(o Outcome) {
	if i, ok := c.at[o.QueueID]; ok {
		c.epochs[i], c.attempts[i] = o.Epoch, int32(o.Attempt)
		c.reasons[i], c.suspects[i] = label(o.Reason, maxLabel), o.Suspect
		return
	}
	if c.at == nil {
		c.at = map[int64]int{}
	}
	c.at[o.QueueID] = len(c.ids)
	c.ids, c.epochs = append(c.ids, o.QueueID), append(c.epochs, o.Epoch)
	c.attempts, c.reasons = append(c.attempts, int32(o.Attempt)), append(c.reasons, label(o.Reason, maxLabel))
	c.suspects = append(c.suspects, o.Suspect)
}
