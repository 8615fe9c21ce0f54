package buffer

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

const (
	migrateTimeout = 90 * time.Second
	// migrateLock is an arbitrary constant known to every version: only one
	// process migrates at a time.
	migrateLock = 0x51c1ce
)

const (
	// The lock belongs to the transaction: a session's would outlive it behind
	// PgBouncer. DDL gives up soon when it must wait, because everything else
	// on the table queues up behind it.
	migrateBeginSQL = `
SET LOCAL lock_timeout = '60s';
SELECT pg_advisory_xact_lock(%d);
SET LOCAL lock_timeout = '5s';
CREATE TABLE IF NOT EXISTS webhook_migrations (
	version    integer PRIMARY KEY,
	name       text NOT NULL,
	applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)`
	migrationsSQL  = `SELECT name FROM webhook_migrations ORDER BY version`
	migrateMarkSQL = `INSERT INTO webhook_migrations (version, name) VALUES ($1, $2)`
)

// Migrate brings the tables up to this version. It changes nothing, and takes
// no lock, when they already are; a newer version's tables are left as they
// are.
func (s *Store) Migrate(ctx context.Context) error {
	_, missing, err := s.Migrations(ctx)
	if err != nil || len(missing) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.migrate(ctx, tx) })
	if err != nil {
		return unavailable("migrate database", err)
	}
	return nil
}

func (s *Store) migrate(ctx context.Context, tx pgx.Tx) error {
	raw := tx.Conn().PgConn() // takes several statements at once
	if err := raw.Exec(ctx, fmt.Sprintf(migrateBeginSQL, migrateLock)).Close(); err != nil {
		return fmt.Errorf("lock migrations: %w", err)
	}
	applied, err := appliedMigrations(ctx, tx)
	if err != nil {
		return err
	}
	missing, err := missingFrom(applied)
	if err != nil {
		return err
	}
	for _, name := range missing {
		sql, err := fs.ReadFile(migrationFiles, "migrations/"+name+".sql")
		if err != nil {
			return fmt.Errorf("read migration %s: %w", name, err)
		}
		if err := raw.Exec(ctx, string(sql)).Close(); err != nil {
			return fmt.Errorf("apply migration %s: %w", name, err)
		}
		version, err := strconv.Atoi(name[:4])
		if err != nil {
			return fmt.Errorf("number migration %s: %w", name, err)
		}
		if _, err := tx.Exec(ctx, migrateMarkSQL, version, name); err != nil {
			return fmt.Errorf("record migration %s: %w", name, err)
		}
		s.config.Log.InfoContext(ctx, "Database migration applied", "migration", name)
	}
	return nil
}

// Migrations returns the names of the migrations that the database has, also
// those of a newer version, and of those that it lacks.
func (s *Store) Migrations(ctx context.Context) (applied, missing []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	applied, err = appliedMigrations(ctx, s.pool)
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == "42P01" {
		applied, err = nil, nil // no such table: a new database
	}
	if err != nil {
		return nil, nil, unavailable("list migrations", err)
	}
	missing, err = missingFrom(applied)
	return applied, missing, err
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func appliedMigrations(ctx context.Context, q querier) ([]string, error) {
	rows, err := q.Query(ctx, migrationsSQL)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func missingFrom(applied []string) ([]string, error) {
	files, err := fs.Glob(migrationFiles, "migrations/*.sql") // sorted
	if err != nil {
		return nil, fmt.Errorf("list embedded migrations: %w", err)
	}
	have := make(map[string]bool, len(applied))
	for _, name := range applied {
		have[name[:min(4, len(name))]] = true // the number counts
	}
	var missing []string
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "migrations/"), ".sql")
		if !have[name[:4]] {
			missing = append(missing, name)
		}
	}
	return missing, nil
}
