package buffer

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"sluice/infra/testkit"
)

// firstVersion makes the tables as the first release left them.
func firstVersion(t *testing.T, url string) {
	t.Helper()
	const name = "0001_queue"
	sql, err := migrationFiles.ReadFile("migrations/" + name + ".sql")
	if err != nil {
		t.Fatal(err)
	}
	db := sqlConn(t, url)
	exec(t, db, string(sql))
	exec(t, db, `CREATE TABLE webhook_migrations (version integer PRIMARY KEY, name text NOT NULL,
		applied_at timestamptz NOT NULL DEFAULT clock_timestamp())`)
	exec(t, db, `INSERT INTO webhook_migrations (version, name) VALUES (1, $1)`, name)
}

// A new version starts while somebody dumps the database: its ALTER TABLE must
// wait for the dump, and no append may wait with it for long.
func TestMigrateBehindDump(t *testing.T) {
	url := testkit.Database(t)
	firstVersion(t, url)
	old := openOnly(t, url, func(c *Config) { c.AppendTimeout = 3 * time.Second })
	l, stop := crowd(t, old, 8)
	appended := func(what string) {
		before, _ := l.count()
		testkit.Eventually(t, what, func() bool { n, _ := l.count(); return n > before+100 })
	}
	appended("appends begin")
	dump, watch := sqlConn(t, url), sqlConn(t, url)
	exec(t, dump, `BEGIN; LOCK TABLE webhook_queue, webhook_replicas, webhook_leases IN ACCESS SHARE MODE`)
	migrated := make(chan error, 1)
	fresh := openOnly(t, url)
	go func() { migrated <- fresh.Migrate(t.Context()) }()
	waits := func() bool {
		return query[bool](t, watch, `SELECT EXISTS (SELECT 1 FROM pg_locks
			WHERE NOT granted AND mode = 'AccessExclusiveLock' AND relation = 'webhook_queue'::regclass)`)[0]
	}
	for range 3 { // it tries again and again, and lets appends pass in between
		testkit.Eventually(t, "the migration waits for the table", waits)
		appended("appends go on beside a migration that waits")
		testkit.Eventually(t, "the migration steps back", func() bool { return !waits() })
	}
	select {
	case err := <-migrated:
		t.Fatalf("migrated beside the dump: %v", err)
	default:
	}
	exec(t, dump, `COMMIT`)
	if err := <-migrated; err != nil {
		t.Fatal(err)
	}
	appended("appends go on after the migration")
	stop()
	if _, refused := l.count(); refused > 0 {
		t.Errorf("%d appends were refused", refused)
	}
	l.check(t, url)
	if _, missing, err := fresh.Migrations(t.Context()); err != nil || len(missing) > 0 {
		t.Errorf("missing %v, %v", missing, err)
	}
}

// withIndex are the migrations and one more, which builds an index.
func withIndex(t *testing.T) fs.FS {
	t.Helper()
	files := fstest.MapFS{"migrations/0900_index.sql": {Data: []byte(apart + `
-- What a comment says ends no statement;
CREATE INDEX CONCURRENTLY IF NOT EXISTS webhook_queue_test ON webhook_queue (queued_at)
    WHERE status = 'failed';
`)}}
	paths, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		data, err := migrationFiles.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = &fstest.MapFile{Data: data}
	}
	return files
}

const (
	testIndexSQL    = `SELECT indexrelid::bigint FROM pg_index WHERE indexrelid = to_regclass('webhook_queue_test') AND indisvalid`
	testBuildingSQL = `SELECT EXISTS (SELECT 1 FROM pg_stat_progress_create_index
		WHERE relid = 'webhook_queue'::regclass AND phase LIKE 'waiting%')`
)

// Two migrators build an index while a transaction stands in its way: one
// builds, one waits, neither waits for the other for ever, and no append waits.
func TestIndexBesideTraffic(t *testing.T) {
	for name, through := range map[string]func(*testing.T, string) string{
		"direct":    func(_ *testing.T, url string) string { return url },
		"PgBouncer": func(t *testing.T, url string) string { return testkit.Pooler(t, url, 8) },
	} {
		t.Run(name, func(t *testing.T) {
			direct := testkit.Database(t)
			url := through(t, direct)
			one, two := open(t, url), open(t, url)
			files := withIndex(t)
			l, stop := crowd(t, one, 8)
			dump, watch := sqlConn(t, direct), sqlConn(t, direct)
			exec(t, dump, `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM webhook_queue`)
			migrated := make(chan error, 2)
			for _, s := range []*Store{one, two} {
				go func() { migrated <- s.migrate(t.Context(), files) }()
			}
			testkit.Eventually(t, "the index is being built", func() bool { return query[bool](t, watch, testBuildingSQL)[0] })
			before, _ := l.count()
			testkit.Eventually(t, "appends go on beside it", func() bool { n, _ := l.count(); return n > before+300 })
			exec(t, dump, `COMMIT`)
			for range 2 {
				if err := <-migrated; err != nil {
					t.Error(err)
				}
			}
			stop()
			if _, refused := l.count(); refused > 0 {
				t.Errorf("%d appends were refused", refused)
			}
			l.check(t, direct)
			if got := query[int64](t, watch, testIndexSQL); len(got) != 1 {
				t.Errorf("valid indexes: %v", got)
			}
		})
	}
}

// A migrator that died leaves a broken index, or one that the server goes on
// building: the first is built anew, the second is waited for.
func TestIndexLeftBehind(t *testing.T) {
	url := testkit.Database(t)
	s, files := open(t, url), withIndex(t)
	statements, _ := apartFrom(string(files.(fstest.MapFS)["migrations/0900_index.sql"].Data))
	dump, watch := sqlConn(t, url), sqlConn(t, url)
	building := func() bool { return query[bool](t, watch, testBuildingSQL)[0] }
	begin := func(ctx context.Context) chan error {
		done := make(chan error, 1)
		exec(t, dump, `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM webhook_queue`)
		go func() { done <- s.alone(ctx, statements[0]) }()
		testkit.Eventually(t, "the index is being built", building)
		return done
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := begin(ctx)
	cancel()
	if err := <-done; err == nil {
		t.Fatal("the build was not cut off")
	}
	testkit.Eventually(t, "the build ends", func() bool { return !building() })
	exec(t, dump, `ROLLBACK`)
	if state, err := s.indexState(t.Context(), "webhook_queue_test"); state != "broken" || err != nil {
		t.Fatalf("index is %s, %v", state, err)
	}
	if err := s.migrate(t.Context(), files); err != nil {
		t.Fatal(err)
	}
	if got := query[int64](t, watch, testIndexSQL); len(got) != 1 {
		t.Fatalf("valid indexes: %v", got)
	}

	exec(t, watch, `DROP INDEX webhook_queue_test; DELETE FROM webhook_migrations WHERE version = 900`)
	done = begin(t.Context())
	index := query[int64](t, watch, `SELECT to_regclass('webhook_queue_test')::oid::bigint`)
	migrated := make(chan error, 1)
	go func() { migrated <- s.migrate(t.Context(), files) }()
	testkit.Eventually(t, "the other build is met", func() bool { return s.pool.Stat().AcquiredConns() >= 2 })
	exec(t, dump, `COMMIT`)
	if err := errors.Join(<-done, <-migrated); err != nil {
		t.Fatal(err)
	}
	if got := query[int64](t, watch, testIndexSQL); !slices.Equal(got, index) {
		t.Errorf("index %v was built anew: %v", index, got)
	}
}

// Statements of their own may be repeated after any of them, and appends may
// come between any two.
func TestApart(t *testing.T) {
	paths, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	url := testkit.Database(t)
	s := open(t, url)
	for _, path := range paths {
		sql, err := migrationFiles.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		statements, ok := apartFrom(string(sql))
		if !ok && strings.Contains(string(sql), "CONCURRENTLY") {
			t.Errorf("%s builds an index in a transaction", path)
		}
		for _, statement := range append(statements, statements...) {
			if strings.Contains(statement, "CREATE INDEX") && !buildsIndex.MatchString(statement) {
				t.Errorf("%s: %.60s... is not CONCURRENTLY IF NOT EXISTS", path, statement)
			}
			if err := s.change(t.Context(), path, statement); err != nil {
				t.Errorf("%s, repeated: %v", path, err)
			}
		}
	}
	for statement, want := range map[string]bool{
		"DO $$": true, "DROP INDEX CONCURRENTLY x": true, "REINDEX INDEX CONCURRENTLY x": true,
		"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS x ON y": true, "ALTER TABLE x": false, "UPDATE x": false,
	} {
		if runsAlone.MatchString(statement) != want {
			t.Errorf("%q runs alone: %v", statement, !want)
		}
	}
}

// Dead letters of the version before have keys, which may meet active rows:
// afterwards the operators' UPDATE returns them all.
func TestFailedKeys(t *testing.T) {
	url := testkit.Database(t)
	firstVersion(t, url)
	db := sqlConn(t, url)
	exec(t, db, `INSERT INTO webhook_queue (sluice_id, source, lane, bucket, headers, body, status, attempts, dedupe_key)
		SELECT gen_random_uuid(), 'github', 'l', 0, 'h', 'b', CASE WHEN n < 1200 THEN 'failed' ELSE 'pending' END,
			10, int4send(n % 600) FROM generate_series(0, 1202) AS n`)
	again := `UPDATE webhook_queue SET status = 'pending', attempts = 0 WHERE status = 'failed' AND source = 'github'`
	if _, err := db.Exec(t.Context(), again); err == nil {
		t.Fatal("the keys do not meet")
	}
	open(t, url)
	if tag := exec(t, db, again); tag.RowsAffected() != 1200 {
		t.Errorf("%d rows are pending again, want 1200", tag.RowsAffected())
	}
	if got := query[int](t, db, `SELECT count(*) FROM webhook_queue WHERE dedupe_key IS NOT NULL`); got[0] != 3 {
		t.Errorf("%d rows have a key, want the 3 that were active", got[0])
	}
}
