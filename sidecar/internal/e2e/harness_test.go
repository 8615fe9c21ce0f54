package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"sluice/infra/postgres"
	"sluice/infra/testkit"
)

// throughout polls for the whole of d and fails the test when ok is ever false.
func throughout(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	if testkit.Within(d, func() bool { return !ok() }) {
		t.Fatalf("not for %v: %s", d, what)
	}
}

// database is a fresh database and a way to ask it.
type database struct {
	url  string
	pool *pgxpool.Pool
}

func newDatabase(t testing.TB) *database {
	t.Helper()
	return openDatabase(t, testkit.Database(t))
}

// ownServer starts a PostgreSQL that the test may stop and kill.
func ownServer(t testing.TB) (*postgres.Server, *database) {
	t.Helper()
	server := testkit.Server(t, postgres.Options{})
	return server, openDatabase(t, server.URL)
}

func openDatabase(t testing.TB, url string) *database {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return &database{url: url, pool: pool}
}

// exec runs a statement and returns how many rows it touched.
func (d *database) exec(t testing.TB, sql string, args ...any) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	tag, err := d.pool.Exec(ctx, sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return tag.RowsAffected()
}

// number returns the number that a query gives, -1 while the database does not answer.
func (d *database) number(sql string, args ...any) int64 {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	var n int64
	if err := d.pool.QueryRow(ctx, sql, args...).Scan(&n); err != nil {
		return -1
	}
	return n
}

// count returns the number of rows with a status.
func (d *database) count(status string) int64 {
	return d.number(`SELECT count(*) FROM webhook_queue WHERE status = $1`, status)
}

// active returns the number of rows still to be delivered.
func (d *database) active() int64 {
	return d.number(`SELECT count(*) FROM webhook_queue WHERE status IN ('pending', 'processing')`)
}

// texts returns the first column of a query.
func (d *database) texts(t testing.TB, sql string, args ...any) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	rows, err := d.pool.Query(ctx, sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return out
}
