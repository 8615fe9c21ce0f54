// Package database opens the app's connections to PostgreSQL and brings the
// schema up to date: the tables of River, the job queue, and the app's own. It
// owns the migrations; it must never read or write rows of the app, which the
// packages do that need them. The service package calls it, and cli for
// `app jobs`.
package database

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"sluice/sidecar/entra"
)

// Options say how the database is reached.
type Options struct {
	URL      string
	MaxConns int
	// Entra signs in with tokens of the platform's identity in place of a
	// password.
	Entra bool
	// Pooler says that a pooler in transaction mode is in between: then nothing
	// may depend on a session.
	Pooler bool
}

// Open returns a pool that connects when first used. It fails only when the
// options are invalid.
func Open(o Options) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		// pgx's own message may repeat the password.
		return nil, errors.New("DATABASE_URL must be a valid PostgreSQL URL")
	}
	c.MaxConns = int32(o.MaxConns) //nolint:gosec // bounded by config
	c.MinIdleConns = min(2, c.MaxConns)
	c.MaxConnLifetime = 30 * time.Minute
	c.MaxConnLifetimeJitter = 5 * time.Minute
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	if c.ConnConfig.RuntimeParams["application_name"] == "" {
		c.ConnConfig.RuntimeParams["application_name"] = "sluice-app"
	}
	if o.Pooler {
		// A prepared statement would stay on the server connection, which the
		// pooler may give to another client.
		c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	if o.Entra {
		password, err := entra.Passwords()
		if err != nil {
			return nil, err
		}
		c.BeforeConnect = func(ctx context.Context, c *pgx.ConnConfig) (err error) {
			c.Password, err = password(ctx)
			return err
		}
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), c)
	if err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	return pool, nil
}
