package buffer

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	provenSQL = `SELECT EXISTS (SELECT FROM webhook_revisions WHERE name = $1)`
	proveSQL  = `INSERT INTO webhook_revisions (name) VALUES ($1) ON CONFLICT DO NOTHING`
)

// RevisionProven reports whether the app of a revision has been healthy once.
func (s *Store) RevisionProven(ctx context.Context, revision string) (proven bool, err error) {
	err = s.do(ctx, s.vital, vitalTimeout, "look up revision", func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, provenSQL, revision).Scan(&proven)
	})
	return proven, err
}

// ProveRevision notes that the app of a revision is healthy.
func (s *Store) ProveRevision(ctx context.Context, revision string) error {
	return s.do(ctx, s.vital, vitalTimeout, "note revision", func(ctx context.Context, c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, proveSQL, revision)
		return err
	})
}
