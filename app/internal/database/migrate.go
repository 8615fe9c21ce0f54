package database

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the advisory lock under which the schema is changed. It is
// held by a transaction, not by a session, so that it also works behind a
// pooler in transaction mode and falls with its connection.
const migrationLock = 0x51_1CE_A99

// Migrate brings River's tables and the app's own up to date. Several
// revisions may call it at the same time: one works, the others wait and find
// nothing to do. A migration may only add, because two versions of the app
// share the tables during a deploy.
func Migrate(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	lock, err := pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin migration lock: %w", err)
	}
	defer func() { _ = lock.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := lock.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
		return fmt.Errorf("take migration lock: %w", err)
	}
	// River's migrations use a transaction each on another connection: some
	// need what the one before has committed.
	river, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("read River's migrations: %w", err)
	}
	if _, err := river.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrate River's tables: %w", err)
	}
	return migrateOwn(ctx, pool, log)
}

func migrateOwn(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	const create = `CREATE TABLE IF NOT EXISTS app_migrations (
		version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())`
	if _, err := pool.Exec(ctx, create); err != nil {
		return fmt.Errorf("create app_migrations: %w", err)
	}
	var current int
	if err := pool.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM app_migrations`).Scan(&current); err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	files, err := fs.Glob(migrations, "migrations/*.sql") // sorted by name
	if err != nil {
		return fmt.Errorf("list migrations: %w", err)
	}
	for _, file := range files {
		version, err := versionOf(file)
		if err != nil {
			return err
		}
		if version <= current {
			continue
		}
		if err := apply(ctx, pool, file, version); err != nil {
			return err
		}
		log.Info("Schema migrated", "version", version)
	}
	return nil
}

func apply(ctx context.Context, pool *pgxpool.Pool, file string, version int) error {
	sql, err := migrations.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read migration: %w", err)
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, string(sql)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO app_migrations (version) VALUES ($1)`, version)
		return err
	})
	if err != nil {
		return fmt.Errorf("apply migration %d: %w", version, err)
	}
	return nil
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
