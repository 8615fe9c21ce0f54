package database

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the advisory lock under which the schema is changed.
const migrationLock = 0x51_1CE_A99

// Migrate brings River's tables and the app's own up to date, while the previous
// revision still uses them. Several revisions may call it at the same time: one
// migrates, the others wait and then find nothing to do. ctx limits the wait. It
// takes no lock when nothing is missing. A migration may only add, because two
// versions of the app share the tables during a deploy. It must not build an
// index on a table in use: that has to be done concurrently, outside a
// transaction.
func Migrate(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	river, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("read River's migrations: %w", err)
	}
	m := &migrator{pool: pool, river: river, log: log}
	if done, err := m.done(ctx); err != nil || done {
		return err
	}
	lock, err := m.lock(ctx)
	if err != nil {
		return fmt.Errorf("take migration lock: %w", err)
	}
	defer func() { _ = lock.Rollback(context.WithoutCancel(ctx)) }()
	if err := m.migrateRiver(ctx); err != nil {
		return fmt.Errorf("migrate River's tables: %w", err)
	}
	return m.migrateOwn(ctx)
}

type migrator struct {
	pool  *pgxpool.Pool
	river *rivermigrate.Migrator[pgx.Tx]
	log   *slog.Logger
}

func (m *migrator) done(ctx context.Context) (bool, error) {
	river, err := m.river.Validate(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("compare River's tables: %w", err)
	}
	current, err := m.version(ctx)
	if err != nil {
		return false, err
	}
	files, err := newerThan(current)
	return river.OK && len(files) == 0, err
}

// lock begins the transaction that holds the migration lock. The migrations run
// in other transactions: some of River's need what the previous one has
// committed. A session's lock would outlive its owner behind a pooler in
// transaction mode. lock polls, because a statement that waits for the lock would
// hold a snapshot all the time.
func (m *migrator) lock(ctx context.Context) (pgx.Tx, error) {
	const ask = `SELECT pg_try_advisory_xact_lock($1)`
	var lock pgx.Tx
	err := m.retryWhileLocked(ctx, "lock", func() error {
		tx, err := m.pool.Begin(ctx)
		if err != nil {
			return err
		}
		var mine bool
		err = tx.QueryRow(ctx, ask, pgx.QueryExecModeSimpleProtocol, int64(migrationLock)).Scan(&mine)
		if err == nil && !mine {
			err = errMigrating
		}
		if err != nil {
			_ = tx.Rollback(context.WithoutCancel(ctx))
			return err
		}
		lock = tx
		return nil
	})
	return lock, err
}

// migrateRiver applies River's migrations one by one, each in a short transaction
// of its own.
func (m *migrator) migrateRiver(ctx context.Context) error {
	one := &rivermigrate.MigrateOpts{MaxSteps: 1}
	for applied := true; applied; {
		err := m.inShortTransaction(ctx, "river", func(tx pgx.Tx) error {
			//nolint:staticcheck // River advises against several migrations in one transaction; this is one
			result, err := m.river.MigrateTx(ctx, tx, rivermigrate.DirectionUp, one)
			if err == nil {
				applied = len(result.Versions) > 0
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *migrator) migrateOwn(ctx context.Context) error {
	const create = `CREATE TABLE IF NOT EXISTS app_migrations (
		version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())`
	if _, err := m.pool.Exec(ctx, create); err != nil {
		return fmt.Errorf("create app_migrations: %w", err)
	}
	current, err := m.version(ctx)
	if err != nil {
		return err
	}
	files, err := newerThan(current)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := m.apply(ctx, file); err != nil {
			return err
		}
	}
	return nil
}

// version returns the schema's version, 0 in a new database.
func (m *migrator) version(ctx context.Context) (current int, err error) {
	err = m.pool.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM app_migrations`).Scan(&current)
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == "42P01" { // no such table
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read schema version: %w", err)
	}
	return current, nil
}

func (m *migrator) apply(ctx context.Context, file string) error {
	version, err := versionOf(file)
	if err != nil {
		return err
	}
	sql, err := migrations.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read migration: %w", err)
	}
	err = m.inShortTransaction(ctx, file, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, string(sql)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO app_migrations (version) VALUES ($1)`, version)
		return err
	})
	if err != nil {
		return fmt.Errorf("apply migration %d: %w", version, err)
	}
	m.log.Info("Schema migrated", "version", version)
	return nil
}

// newerThan returns the files of the migrations after a version, in order.
func newerThan(current int) (files []string, err error) {
	all, err := fs.Glob(migrations, "migrations/*.sql") // sorted by name
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	for _, file := range all {
		version, err := versionOf(file)
		if err != nil {
			return nil, err
		}
		if version > current {
			files = append(files, file)
		}
	}
	return files, nil
}

// versionOf reads the number at the start of "migrations/001_name.sql".
func versionOf(file string) (int, error) {
	name := strings.TrimPrefix(file, "migrations/")
	number, _, _ := strings.Cut(name, "_")
	version, err := strconv.Atoi(number)
	if err != nil {
		return 0, fmt.Errorf("read version of migration %q: %w", name, err)
	}
	return version, nil
}
