package buffer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// commitLoop is one committer: it commits batch after batch until the queue is
// closed.
func (s *Store) commitLoop(ctx context.Context) {
	for batch := s.queue.take(); batch != nil; batch = s.queue.take() {
		s.commit(ctx, batch)
		s.queue.finish(batch)
	}
}

// commit writes a batch and answers all of it. It repeats the same keys until
// each entry's own deadline: a commit whose answer was lost is met by its retry
// as a conflict with itself.
func (s *Store) commit(ctx context.Context, batch []*entry) {
	err := errors.New("no time left")
	unknown := false // an answer was lost: rows may be there
	for try := 0; ; try++ {
		if batch = s.expire(batch, err); len(batch) == 0 {
			return
		}
		if ctx.Err() != nil {
			reject(batch, unavailable("append webhook", errClosed))
			return
		}
		var rows []stored
		began := time.Now()
		if rows, err = s.attempt(ctx, batch, unknown); err == nil {
			s.noteAnswer()
			for i, e := range batch {
				if rows[i].sluiceID == e.id {
					s.flow.stored(e) // before its owner goes on
				}
				e.accept(rows[i])
			}
			return
		}
		unknown = unknown || faultOf(err) == faultAway
		if faultOf(err) == faultRow {
			s.divide(ctx, batch, err)
			return
		}
		s.copies.expect() // the rows themselves, when only the answer was lost
		s.refresh(err, ctx.Err() == nil, began)
		if try == 0 {
			s.config.Log.WarnContext(ctx, "Append to PostgreSQL failed, trying again", "err", err, "rows", len(batch))
		}
		if faultOf(err) != faultBusy {
			pause(ctx, backoff(try))
		}
	}
}

// divide finds the row that the server refuses by halving the batch, so that it
// fails alone.
func (s *Store) divide(ctx context.Context, batch []*entry, err error) {
	if len(batch) == 1 {
		reject(batch, fmt.Errorf("append webhook: row refused: %w", err))
		return
	}
	half := len(batch) / 2
	s.commit(ctx, batch[:half:half])
	s.commit(ctx, batch[half:])
}

// attempt runs one insert of the batch in the time that its most urgent entry
// leaves, but at least a third of AppendTimeout: a short rest would only end in
// one more unknown outcome.
func (s *Store) attempt(ctx context.Context, batch []*entry, unknown bool) ([]stored, error) {
	third := s.config.AppendTimeout / 3
	until := batch[0].deadline
	for _, e := range batch[1:] {
		if e.deadline.Before(until) {
			until = e.deadline
		}
	}
	limit := min(max(time.Until(until), third), 2*third) + batch[0].grace
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := acquire(ctx, s.pool)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	var rows []stored
	err = replicated(conn, func() error {
		rows, err = s.insert(ctx, conn, batch, unknown)
		return err
	})
	return rows, err
}

// insert writes a batch, leaving out what an earlier try has written already.
func (s *Store) insert(ctx context.Context, conn *pgxpool.Conn, batch []*entry, unknown bool) ([]stored, error) {
	if !unknown {
		return s.insertNew(ctx, conn, batch)
	}
	there, err := s.find(ctx, conn, batch)
	if err != nil || len(there) == 0 {
		if err == nil {
			return s.insertNew(ctx, conn, batch)
		}
		return nil, err
	}
	var missing []*entry
	for _, e := range batch {
		if _, ok := there[e.id]; !ok {
			missing = append(missing, e)
		}
	}
	var written []stored
	if len(missing) > 0 {
		if written, err = s.insertNew(ctx, conn, missing); err != nil {
			return nil, err
		}
	}
	rows := make([]stored, len(batch))
	for i, e := range batch {
		if id, ok := there[e.id]; ok {
			rows[i] = stored{id: id, sluiceID: e.id}
			continue
		}
		rows[i], written = written[0], written[1:]
	}
	return rows, nil
}

func (s *Store) insertNew(ctx context.Context, conn *pgxpool.Conn, batch []*entry) ([]stored, error) {
	if len(batch) == 1 {
		return s.insertOne(ctx, conn, batch[0])
	}
	return s.insertBatch(ctx, conn, batch)
}

// A row whose commit's answer was lost may be delivered and completed by now, and
// then no active row has its key. It is looked for among the latest rows, by the
// primary key: an index by sluice_id would cost every insert. The UPDATE changes
// nothing but has a commit, which waits for a synchronous standby to have the row.
// The rows are locked in the order of their ids, as settling locks them: two that
// go different ways would deadlock.
const findSQL = `
WITH latest AS MATERIALIZED (
	SELECT id, sluice_id FROM webhook_queue ORDER BY id DESC LIMIT 20000
), mine AS MATERIALIZED (
	SELECT id FROM webhook_queue
	WHERE id = ANY (ARRAY(SELECT id FROM latest WHERE sluice_id = ANY ($1::uuid[])))
	ORDER BY id FOR NO KEY UPDATE
)
UPDATE webhook_queue SET dup_count = dup_count
WHERE id = ANY (ARRAY(SELECT id FROM mine))
RETURNING id, sluice_id`

// find returns the rows that keep entries of the batch already, by Sluice-Id.
func (s *Store) find(ctx context.Context, conn *pgxpool.Conn, batch []*entry) (map[uuid.UUID]int64, error) {
	ids := make([]uuid.UUID, len(batch))
	for i, e := range batch {
		ids[i] = e.id
	}
	rows, err := conn.Query(ctx, findSQL, ids)
	if err != nil {
		return nil, err
	}
	there := map[uuid.UUID]int64{}
	var id int64
	var sluiceID uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&id, &sluiceID}, func() error {
		there[sluiceID] = id
		return nil
	})
	return there, err
}

// expire answers the entries whose time is over and returns the others. The
// batch itself stays as it was: its keys are still to be let go.
func (s *Store) expire(batch []*entry, err error) []*entry {
	now := time.Now()
	var left []*entry
	for i, e := range batch {
		switch {
		case now.Before(e.deadline):
			if left != nil {
				left = append(left, e)
			}
			continue
		case left == nil:
			left = append(make([]*entry, 0, len(batch)), batch[:i]...)
		}
		reject([]*entry{e}, unavailable("append webhook", err))
	}
	if left == nil {
		return batch
	}
	return left
}

// accept answers an entry and its copies with the row that keeps them.
func (e *entry) accept(row stored) {
	r := Receipt{QueueID: row.id, ID: e.webhook.ID}
	if row.sluiceID != e.id {
		r.ID, r.Duplicate = row.sluiceID.String(), true
	}
	e.done <- answer{receipt: r}
	r.Duplicate = true
	for _, c := range e.copies {
		c.done <- answer{receipt: r}
	}
}

func reject(batch []*entry, err error) {
	for _, e := range batch {
		e.done <- answer{err: err}
		for _, c := range e.copies {
			c.done <- answer{err: err}
		}
	}
}
