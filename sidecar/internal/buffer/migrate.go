package buffer

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrateLock is an arbitrary constant known to every version: only one process
// migrates at a time.
const migrateLock = 0x51c1ce

const (
	migrateLockSQL = `SELECT pg_try_advisory_xact_lock($1)`
	migrationsSQL  = `SELECT name FROM webhook_migrations ORDER BY version`
	migrateMarkSQL = `INSERT INTO webhook_migrations (version, name) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	migrateInitSQL = `
CREATE TABLE IF NOT EXISTS webhook_migrations (
	version    integer PRIMARY KEY,
	name       text NOT NULL,
	applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)`
)

var errMigrating = errors.New("another process migrates")

// Migrate brings the tables up to this version while other replicas use them. It
// changes nothing, and takes no lock, when they already are; a newer version's
// tables are left as they are. A table that stays in use (a dump, an open
// transaction) makes it fail after 90 s: call it again.
func (s *Store) Migrate(ctx context.Context) error { return s.migrate(ctx, migrationFiles) }

func (s *Store) migrate(ctx context.Context, files fs.FS) error {
	_, missing, err := s.migrations(ctx, files)
	if err != nil || len(missing) == 0 {
		return err
	}
	lock, err := s.lockMigrations(ctx)
	if err != nil {
		return unavailable("lock migrations", err)
	}
	err = s.applyMissing(ctx, files)
	rollback(ctx, lock)
	if err != nil {
		return unavailable("migrate database", err)
	}
	return nil
}

// lockMigrations returns the transaction that owns the lock, which is not the
// one that migrates. A session's lock would outlive its owner behind PgBouncer.
// The lock is asked for again and again rather than waited for: who waits within
// a statement has a snapshot, and an index that is built concurrently waits for
// whoever has one. READ COMMITTED has none between its statements, but a portal
// of the extended protocol keeps its own until the next: hence the simple one.
func (s *Store) lockMigrations(ctx context.Context) (pgx.Tx, error) {
	var lock pgx.Tx
	err := s.patiently(ctx, migrateTimeout, "lock", func(ctx context.Context) error {
		tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
		if err != nil {
			return err
		}
		var mine bool
		err = tx.QueryRow(ctx, migrateLockSQL, pgx.QueryExecModeSimpleProtocol, int64(migrateLock)).Scan(&mine)
		if err == nil && !mine {
			err = errMigrating
		}
		if err != nil {
			rollback(ctx, tx)
			return err
		}
		lock = tx
		return nil
	})
	return lock, err
}

func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_ = tx.Rollback(ctx) // what fails here closes the connection, and the lock goes with it
}

// applyMissing would do no harm without the lock: what is not idempotent is in
// one transaction with its mark.
func (s *Store) applyMissing(ctx context.Context, files fs.FS) error {
	if err := s.briefly(ctx, "webhook_migrations", execute(migrateInitSQL)); err != nil {
		return fmt.Errorf("create list of migrations: %w", err)
	}
	_, missing, err := s.migrations(ctx, files)
	if err != nil {
		return err
	}
	for _, name := range missing {
		if err := s.apply(ctx, files, name); err != nil {
			return fmt.Errorf("apply migration %s: %w", name, err)
		}
		s.config.Log.InfoContext(ctx, "Database migration applied", "migration", name)
	}
	return nil
}

func (s *Store) apply(ctx context.Context, files fs.FS, name string) error {
	sql, err := fs.ReadFile(files, "migrations/"+name+".sql")
	if err != nil {
		return fmt.Errorf("read migration: %w", err)
	}
	version, err := strconv.Atoi(name[:4])
	if err != nil {
		return fmt.Errorf("number migration: %w", err)
	}
	mark := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, migrateMarkSQL, version, name)
		return err
	}
	statements, apart := apartFrom(string(sql))
	if !apart {
		return s.briefly(ctx, name, execute(string(sql)), mark)
	}
	for _, statement := range statements {
		if err := s.change(ctx, name, statement); err != nil {
			return err
		}
	}
	return s.briefly(ctx, name, mark)
}

// Migrations returns the names of the migrations that the database has, also
// those of a newer version, and of those that it lacks.
func (s *Store) Migrations(ctx context.Context) (applied, missing []string, err error) {
	return s.migrations(ctx, migrationFiles)
}

func (s *Store) migrations(ctx context.Context, files fs.FS) (applied, missing []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, migrationsSQL)
	if err == nil {
		applied, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == "42P01" {
		applied, err = nil, nil // no such table: a new database
	}
	if err != nil {
		return nil, nil, unavailable("list migrations", err)
	}
	missing, err = missingFrom(files, applied)
	return applied, missing, err
}

func missingFrom(files fs.FS, applied []string) ([]string, error) {
	paths, err := fs.Glob(files, "migrations/*.sql") // sorted
	if err != nil {
		return nil, fmt.Errorf("list embedded migrations: %w", err)
	}
	have := make(map[string]bool, len(applied))
	for _, name := range applied {
		have[name[:min(4, len(name))]] = true // the number counts
	}
	var missing []string
	for _, path := range paths {
		name := strings.TrimSuffix(strings.TrimPrefix(path, "migrations/"), ".sql")
		if !have[name[:4]] {
			missing = append(missing, name)
		}
	}
	return missing, nil
}
