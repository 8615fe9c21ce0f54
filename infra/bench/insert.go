package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"sluice/infra/bench/load"
)

// inserter writes the sidecar's rows one by one, each in its own transaction, over
// a connection of its own. A receiver that stores each webhook before it answers
// would do the same; the cost of the receiver itself is left out.
type inserter struct {
	conn *pgx.Conn
	rows [][]any
	next int
}

const copiedColumns = "source, event_name, lane, bucket, headers, body, body_size, verified, received_at"

const insertSQL = `INSERT INTO webhook_queue (` + copiedColumns + `, sluice_id, delivery_id, dedupe_key)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`

// newInserters makes the same tables in another database. The rows to write are
// copied from a sidecar's queue.
func (s *stage) newInserters(ctx context.Context, queue *pgx.Conn) (all []load.Sender, err error) {
	url, err := s.freshDatabase(ctx)
	if err != nil {
		return nil, err
	}
	migrate, err := s.start(s.config.Sidecar, []string{"migrate"}, []string{"DATABASE_URL=" + url})
	if err != nil {
		return nil, err
	}
	if err := migrate.Wait(ctx); err != nil {
		return nil, err
	}
	found, err := queue.Query(ctx, "SELECT "+copiedColumns+" FROM webhook_queue")
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	rows, err := pgx.CollectRows(found, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	for i := range s.config.HoldConnections {
		conn, err := s.connect(ctx, url)
		if err != nil {
			return nil, err
		}
		all = append(all, &inserter{conn: conn, rows: rows, next: i})
	}
	for range rows { // as many as the sidecar's queue has
		if err := all[0].Send(ctx); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Send writes the next row with new ids.
func (in *inserter) Send(ctx context.Context) error {
	if _, err := in.conn.Exec(ctx, insertSQL, in.row()...); err != nil {
		return fmt.Errorf("insert row: %w", err)
	}
	return nil
}

// row is the next row, with new ids.
func (in *inserter) row() []any {
	row := in.rows[in.next%len(in.rows)]
	in.next++
	key := make([]byte, 32)
	rand.Read(key) // never fails
	id := uuid.Must(uuid.NewV7()).String()
	return append(slices.Clip(row), id, "72d3162e-"+id[9:], key)
}
