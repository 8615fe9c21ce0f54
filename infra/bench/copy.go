package bench

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"sluice/infra/bench/load"
)

// copier writes the rows of an inserter in batches with COPY, each in its own
// transaction: the fastest way that PostgreSQL has to take rows and commit them.
// All copiers together have as many rows under way as the sidecar beside them.
type copier struct {
	inserter
	batch int
}

// copiers is enough to keep the server busy while one of them awaits a commit.
const copiers = 3

func copyRows(c Config) int { return max(1, c.CopyConnections/copiers) }

// newCopiers writes into the table of the inserter.
func (s *stage) newCopiers(ctx context.Context, like *inserter) (all []load.Sender, err error) {
	for i := range copiers {
		conn, err := s.connect(ctx, like.conn.Config().ConnString())
		if err != nil {
			return nil, err
		}
		all = append(all, &copier{inserter{conn: conn, rows: like.rows, next: i}, copyRows(s.config)})
	}
	return all, nil
}

// Send writes a batch.
func (c *copier) Send(ctx context.Context) error {
	columns := append(strings.Split(copiedColumns, ", "), "sluice_id", "delivery_id", "dedupe_key")
	rows := pgx.CopyFromSlice(c.batch, func(int) ([]any, error) { return c.row(), nil })
	if _, err := c.conn.CopyFrom(ctx, pgx.Identifier{"webhook_queue"}, columns, rows); err != nil {
		return fmt.Errorf("copy rows: %w", err)
	}
	return nil
}
