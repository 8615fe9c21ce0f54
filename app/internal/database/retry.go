package database

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// A change of a table waits for all transactions that read it, and later
	// readers queue behind the change. So it gives up soon, lets the readers go
	// on and tries again.
	setLockTimeout = `SET LOCAL lock_timeout = '300ms'`
	minRest        = 500 * time.Millisecond
	maxRest        = 5 * time.Second
	lockRest       = 100 * time.Millisecond // polling for the migration lock keeps nobody waiting
)

var errMigrating = errors.New("another process migrates")

// inShortTransaction runs f in a transaction that does not keep others waiting
// for long.
func (m *migrator) inShortTransaction(ctx context.Context, migration string, f func(pgx.Tx) error) error {
	return m.retryWhileLocked(ctx, migration, func() error {
		return pgx.BeginFunc(ctx, m.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, setLockTimeout); err != nil {
				return err
			}
			return f(tx)
		})
	})
}

// retryWhileLocked runs f again, until ctx ends, while others hold the locks that
// it needs.
func (m *migrator) retryWhileLocked(ctx context.Context, migration string, f func() error) error {
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
// failure: the transaction was rolled back and can be repeated.
func busy(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "55P03" || pg.Code == "40P01" || pg.Code == "40001")
}
