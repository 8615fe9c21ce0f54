package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"
)

// commit stores the batch and answers each request. When PostgreSQL refuses the
// content of a batch, its webhooks are stored one by one, so that one bad row
// does not fail the others.
func (in *Intake) commit(batch []*request, limit time.Duration) {
	// Not a request's context: a sender that hangs up must not fail the others of
	// its batch.
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	stored, err := in.insert(ctx, batch)
	if deadlock(err) {
		stored, err = in.insert(ctx, batch)
	}
	if err != nil && len(batch) > 1 && badContent(err) {
		for _, r := range batch {
			stored, err := in.insert(ctx, []*request{r})
			in.answer([]*request{r}, stored, err)
		}
		return
	}
	in.answer(batch, stored, err)
}

func (in *Intake) answer(batch []*request, stored map[*request]bool, err error) {
	if err != nil {
		in.log.Error("Webhook not stored", "err", err, "webhooks", len(batch))
	}
	for _, r := range batch {
		r.done <- result{stored: stored[r], err: err}
	}
}

// insert stores the new webhooks of the batch, in the batch's order, in one
// transaction. It returns which requests were new.
func (in *Intake) insert(ctx context.Context, batch []*request) (map[*request]bool, error) {
	var stored map[*request]bool
	err := pgx.BeginFunc(ctx, in.pool, func(tx pgx.Tx) error {
		fresh, err := newDeliveries(ctx, tx, batch)
		if err != nil {
			return err
		}
		if stored, err = insertWebhooks(ctx, tx, fresh); err != nil {
			return err
		}
		var jobs []river.InsertManyParams
		for _, r := range batch {
			if stored[r] {
				jobs = append(jobs, r.webhook.Jobs...)
			}
		}
		if len(jobs) == 0 {
			return nil
		}
		return in.jobs.Insert(ctx, tx, jobs)
	})
	if err != nil {
		return nil, fmt.Errorf("store webhooks: %w", err)
	}
	return stored, nil
}

// insertWebhooks writes the receipts that are not there yet. Rows are inserted by
// ascending id, so that two replicas that store the same webhooks do not
// deadlock.
func insertWebhooks(ctx context.Context, tx pgx.Tx, batch []*request) (map[*request]bool, error) {
	const insert = `
INSERT INTO app_webhooks (sluice_id, source, delivery_id, event, received_at, headers, body)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::bytea[], $7::bytea[])
ON CONFLICT (sluice_id) DO NOTHING
RETURNING sluice_id`
	if len(batch) == 0 {
		return nil, nil
	}
	batch = slices.Clone(batch)
	slices.SortStableFunc(batch, func(a, b *request) int { return strings.Compare(a.webhook.ID, b.webhook.ID) })
	n := len(batch)
	ids, sources, deliveries, events := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	times, headers, bodies := make([]time.Time, n), make([][]byte, n), make([][]byte, n)
	for i, r := range batch {
		w := r.webhook
		ids[i], sources[i], deliveries[i], events[i] = w.ID, w.Source, w.DeliveryID, w.Event
		times[i], headers[i], bodies[i] = w.ReceivedAt, r.headers, w.Body
	}
	rows, err := tx.Query(ctx, insert, ids, sources, deliveries, events, times, headers, bodies)
	if err != nil {
		return nil, fmt.Errorf("insert webhooks: %w", err)
	}
	inserted, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("insert webhooks: %w", err)
	}
	isNew := make(map[string]bool, len(inserted))
	for _, id := range inserted {
		isNew[id] = true
	}
	stored := make(map[*request]bool, len(inserted))
	for _, r := range batch {
		// Of two copies in one batch the first was stored.
		stored[r] = isNew[r.webhook.ID]
		delete(isNew, r.webhook.ID)
	}
	return stored, nil
}

// newDeliveries returns the requests whose delivery id was not seen on their route
// within 24 h; the column source has the route's name, which is its sender's unless it
// has one of its own.
// The same Sluice-Id counts as new here: its receipt decides.
func newDeliveries(ctx context.Context, tx pgx.Tx, batch []*request) ([]*request, error) {
	const remember = `
INSERT INTO app_deliveries AS d (source, delivery_id, sluice_id) VALUES ($1, $2, $3)
ON CONFLICT (source, delivery_id) DO UPDATE SET sluice_id = excluded.sluice_id, stored_at = now()
WHERE d.stored_at < now() - interval '24 hours' OR d.sluice_id = excluded.sluice_id`
	var once []*request
	for _, r := range batch {
		if r.webhook.OncePerDelivery && r.webhook.DeliveryID != "" {
			once = append(once, r)
		}
	}
	if len(once) == 0 {
		return batch, nil
	}
	slices.SortStableFunc(once, func(a, b *request) int { return strings.Compare(a.webhook.DeliveryID, b.webhook.DeliveryID) })
	queries := &pgx.Batch{}
	known := map[*request]bool{}
	for _, r := range once {
		queries.Queue(remember, r.webhook.Route, r.webhook.DeliveryID, r.webhook.ID).Exec(func(tag pgconn.CommandTag) error {
			known[r] = tag.RowsAffected() == 0
			return nil
		})
	}
	if err := tx.SendBatch(ctx, queries).Close(); err != nil {
		return nil, fmt.Errorf("remember deliveries: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(batch), func(r *request) bool { return known[r] }), nil
}

func deadlock(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "40P01"
}

// badContent reports that PostgreSQL refused the data itself: class 22 (data
// exception) or class 54 (program limit exceeded).
func badContent(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (strings.HasPrefix(pg.Code, "22") || strings.HasPrefix(pg.Code, "54"))
}
