package buffer

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Result is how an attempt ended.
type Result int

// Completed is never fenced: a 2xx is a fact, whoever holds the lease by then.
// The others only change a row that is still claimed with their epoch.
const (
	Completed Result = iota + 1 // the app has it
	Failed                      // given up: the dead letter
	Retried                     // the attempt failed and counts; the row stays in hand
	Returned                    // back to pending; the attempt was not made and does not count
)

// Outcome is the result of one attempt.
type Outcome struct {
	QueueID int64
	Epoch   int64 // of the claim
	Result  Result
	Attempt int    // its number, from 1; for Returned the one that was not made
	Reason  string // what went wrong; never a secret or part of a body
}

// Each takes ids, epochs, attempts and reasons.
const (
	settleFromSQL = `
FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::text[]) AS w(id, epoch, attempt, reason)
WHERE q.id = w.id`
	fencedSQL    = ` AND q.claim_epoch = w.epoch AND q.` + active
	completedSQL = `
UPDATE webhook_queue q SET status = 'completed', processed_at = clock_timestamp(), awaited_by = NULL,
	attempts = GREATEST(q.attempts, w.attempt)` + settleFromSQL + ` AND q.status <> 'completed'`
	failedSQL = `
UPDATE webhook_queue q SET status = 'failed', processed_at = clock_timestamp(), awaited_by = NULL,
	attempts = w.attempt, last_error = w.reason` + settleFromSQL + fencedSQL
	retriedSQL = `
UPDATE webhook_queue q SET attempts = w.attempt, last_error = w.reason` + settleFromSQL + fencedSQL
	returnedSQL = `
UPDATE webhook_queue q SET status = 'pending', claim_epoch = NULL, attempts = GREATEST(w.attempt - 1, 0),
	last_error = COALESCE(NULLIF(w.reason, ''), q.last_error)` + settleFromSQL + fencedSQL
)

var settleSQL = [...]string{Completed: completedSQL, Failed: failedSQL, Retried: retriedSQL, Returned: returnedSQL}

// Settle records outcomes, one statement for each kind among them. It may be
// repeated with the same outcomes when it failed.
func (s *Store) Settle(ctx context.Context, outcomes []Outcome) error {
	var errs []error
	for result := Completed; result <= Returned; result++ {
		var ids, epochs []int64
		var attempts []int32
		var reasons []string
		for _, o := range outcomes {
			if o.Result == result {
				ids, epochs = append(ids, o.QueueID), append(epochs, o.Epoch)
				attempts, reasons = append(attempts, int32(o.Attempt)), append(reasons, label(o.Reason, maxLabel))
			}
		}
		if len(ids) == 0 {
			continue
		}
		errs = append(errs, s.do(ctx, s.pool, queryTimeout, "settle rows", func(ctx context.Context, c *pgxpool.Conn) error {
			_, err := c.Exec(ctx, settleSQL[result], s.planned.mode(c.Conn()), ids, epochs, attempts, reasons)
			return err
		}))
	}
	return errors.Join(errs...)
}
