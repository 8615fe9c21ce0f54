package database

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// A change of a table waits for everybody who reads it, and whoever comes
	// later waits behind the change. So it steps back soon, lets them pass and
	// tries again.
	setLockTimeout = `SET LOCAL lock_timeout = '300ms'`
	minRest        = 500 * time.Millisecond
	maxRest        = 5 * time.Second
	lockRest       = 100 * time.Millisecond // asking for the lock keeps nobody waiting
)

var errMigrating = errors.New("another process migrates")

// briefly runs f in a transaction that keeps nobody waiting for long.
func (m *migrator) briefly(ctx context.Context, migration string, f func(pgx.Tx) error) error {
	return m.patiently(ctx, migration, func() error {
		return pgx.BeginFunc(ctx, m.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, setLockTimeout); err != nil {
				return err
			}
			return f(tx)
		})
	})
}

// patiently runs f again, until ctx ends, while what it needs is in the hands of
// others.
func (m *migrator) patiently(ctx context.Context, migration string, f func() error) error {
	for rest := minRest; ; rest = min(2*rest, maxRest) {
		err := f()
		if err == nil || !busy(err) && !errors.Is(err, errMigrating) {
			return err
		}
		if rest == minRest {
			m.log.Warn("Database migration waits", "migration", migration, "err", err)
		}
		wait := rest
		if errors.Is(err, errMigrating) {
			wait = lockRest
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// busy reports a lock that was not available, a deadlock or a serialization
// failure: the transaction was rolled back, and the same again will do.
func busy(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "55P03" || pg.Code == "40P01" || pg.Code == "40001")
}
