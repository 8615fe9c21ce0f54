package database

import (
	"context"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"sluice/infra/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func openPool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := Open(Options{URL: url, MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func logger(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

func exec(t *testing.T, c *pgx.Conn, sql string) {
	t.Helper()
	if _, err := c.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// A new revision starts during a dump of the database. Its migration waits for
// the dump, and gives up its place again and again so that others can read.
func TestMigrateBehindDump(t *testing.T) {
	for table, undo := range map[string]func(*testing.T, *pgxpool.Pool, *pgx.Conn){
		"app_instances": func(t *testing.T, _ *pgxpool.Pool, db *pgx.Conn) {
			exec(t, db, `ALTER TABLE app_instances DROP COLUMN home, DROP COLUMN pid; DELETE FROM app_migrations WHERE version >= 3`)
		},
		"river_job": func(t *testing.T, pool *pgxpool.Pool, _ *pgx.Conn) {
			river, err := rivermigrate.New(riverpgxv5.New(pool), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := river.Migrate(t.Context(), rivermigrate.DirectionDown, &rivermigrate.MigrateOpts{TargetVersion: 6}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(table, func(t *testing.T) {
			url := testkit.Database(t)
			pool, dump, watch := openPool(t, url), connect(t, url), connect(t, url)
			if err := Migrate(t.Context(), pool, logger(t)); err != nil {
				t.Fatal(err)
			}
			undo(t, pool, watch)
			exec(t, dump, `BEGIN; LOCK TABLE `+table+` IN ACCESS SHARE MODE`)
			migrated := make(chan error, 1)
			go func() { migrated <- Migrate(t.Context(), pool, logger(t)) }()
			waits := func() (is bool) {
				err := watch.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_locks
					WHERE NOT granted AND mode = 'AccessExclusiveLock' AND relation = $1::text::regclass)`, table).Scan(&is)
				if err != nil {
					t.Fatal(err)
				}
				return is
			}
			for range 3 {
				testkit.Eventually(t, "the migration waits for the table", waits)
				testkit.Eventually(t, "the migration gives up its place", func() bool { return !waits() })
			}
			exec(t, dump, `COMMIT`)
			if err := <-migrated; err != nil {
				t.Fatal(err)
			}
			m := &migrator{pool: pool}
			var err error
			if m.river, err = rivermigrate.New(riverpgxv5.New(pool), nil); err != nil {
				t.Fatal(err)
			}
			if done, err := m.done(t.Context()); !done || err != nil {
				t.Errorf("migrated: %v, %v", done, err)
			}
		})
	}
}

// Several revisions migrate a new database at the same time, directly and through
// PgBouncer. The lock is released, and a schema that is up to date needs no lock.
func TestMigrateRaced(t *testing.T) {
	for name, through := range map[string]func(*testing.T, string) string{
		"direct":    func(_ *testing.T, url string) string { return url },
		"PgBouncer": func(t *testing.T, url string) string { return testkit.Pooler(t, url, 8) },
	} {
		t.Run(name, func(t *testing.T) {
			direct := testkit.Database(t)
			url := through(t, direct)
			migrated := make(chan error, 3)
			for range cap(migrated) {
				pool, err := Open(Options{URL: url, MaxConns: 4, Pooler: name == "PgBouncer"})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(pool.Close)
				go func() { migrated <- Migrate(t.Context(), pool, logger(t)) }()
			}
			for range cap(migrated) {
				if err := <-migrated; err != nil {
					t.Error(err)
				}
			}
			other := connect(t, direct)
			var free bool
			err := other.QueryRow(t.Context(), `SELECT pg_try_advisory_lock($1)`, int64(migrationLock)).Scan(&free)
			if err != nil || !free {
				t.Fatalf("the lock is free: %v, %v", free, err)
			}
			if err := Migrate(t.Context(), openPool(t, direct), logger(t)); err != nil {
				t.Error(err)
			}
		})
	}
}
