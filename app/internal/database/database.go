// Package database opens the app's connection pool and brings the schema up to
// date: River's tables and the app's own. It owns the migrations; every other
// statement lives in the package that runs it. The service package calls it.
package database

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Open returns a pool for url that connects when first used. It fails only on
// a URL that cannot be read.
func Open(url string, maxConns int) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read database URL: %w", err)
	}
	c.MaxConns = int32(maxConns) //nolint:gosec // bounded by config
	c.MinIdleConns = 2
	c.MaxConnLifetime = 30 * time.Minute
	c.MaxConnLifetimeJitter = 5 * time.Minute
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), c)
	if err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	return pool, nil
}
