package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"sluice/infra/ports"
	"sluice/infra/postgres"
)

// patience is how long anything may take to come about. It costs nothing where
// all is well and is far beyond what a slow, busy machine needs.
const patience = 90 * time.Second

// eventually polls until ok, and fails the test when its patience is at an end.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !within(patience, ok) {
		t.Fatalf("not within %v: %s", patience, what)
	}
}

// within polls until ok and reports whether that came true in time.
func within(limit time.Duration, ok func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; <-tick.C {
		if ok() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// throughout polls for the whole of d and fails the test when ok is ever false.
func throughout(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	if within(d, func() bool { return !ok() }) {
		t.Fatalf("not for %v: %s", d, what)
	}
}

// freeAddr returns an address that is nobody else's, also while nobody listens
// on it.
func freeAddr(t testing.TB) string {
	t.Helper()
	port, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// database is a fresh database and a way to ask it.
type database struct {
	url  string
	pool *pgxpool.Pool
}

func newDatabase(t testing.TB) *database {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	url, drop, err := postgres.Fresh(ctx, databases)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := drop(ctx); err != nil {
			t.Error(err)
		}
	})
	return openDatabase(t, url)
}

// ownServer starts a PostgreSQL that the test may stop and kill.
func ownServer(t testing.TB) (*postgres.Server, *database) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	server, err := postgres.Start(ctx, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
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
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tag, err := d.pool.Exec(ctx, sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return tag.RowsAffected()
}

// number returns the one number that a query gives, -1 while it can't be asked.
func (d *database) number(sql string, args ...any) int64 {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
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

// active returns the number of rows that are still to be delivered.
func (d *database) active() int64 {
	return d.number(`SELECT count(*) FROM webhook_queue WHERE status IN ('pending', 'processing')`)
}

// texts returns the first column of a query.
func (d *database) texts(t testing.TB, sql string, args ...any) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
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
