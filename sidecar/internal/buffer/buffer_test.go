package buffer

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"
	"sluice/infra/testkit"
	"sluice/sidecar/internal/webhook"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// open returns a migrated store on the database at url and checks, when the
// test ends, that Close leaves no goroutine behind.
func open(tb testing.TB, url string, change ...func(*Config)) *Store {
	tb.Helper()
	s := openOnly(tb, url, change...)
	if err := s.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return s
}

func openOnly(tb testing.TB, url string, change ...func(*Config)) *Store {
	tb.Helper()
	ignore := goleak.IgnoreCurrent()
	// Patient, because tests share a machine; those of the time limits set their own.
	c := Config{URL: url, Instance: uuid.NewString(), AppendTimeout: 30 * time.Second, Log: slog.New(slog.NewTextHandler(tb.Output(), nil))}
	for _, f := range change {
		f(&c)
	}
	s, err := Open(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		s.Close()
		s.Close()
		goleak.VerifyNone(tb, ignore, goleak.IgnoreAnyFunction("sluice/infra/postgres.(*process).own"))
	})
	return s
}

// hook returns a webhook with a delivery id of its own.
func hook(lane string, n int) *webhook.Webhook {
	return &webhook.Webhook{
		ID:         uuid.Must(uuid.NewV7()).String(),
		Source:     "github",
		DeliveryID: fmt.Sprintf("%s-%d", lane, n),
		Event:      "push",
		Lane:       lane,
		Verified:   "github",
		Head:       []byte("POST /webhooks/github HTTP/1.1\r\nX-Bytes: \x00\xff\r\n"),
		Body:       []byte(fmt.Sprintf(`{"n":%d}`, n)),
		ReceivedAt: time.Now().UTC(),
	}
}

func mustAppend(tb testing.TB, s *Store, w *webhook.Webhook) Receipt {
	tb.Helper()
	r, err := s.Append(tb.Context(), w)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// sql opens a connection of the test's own.
func sqlConn(tb testing.TB, url string) *pgx.Conn {
	tb.Helper()
	c, err := pgx.Connect(tb.Context(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func exec(tb testing.TB, c *pgx.Conn, sql string, args ...any) pgconn.CommandTag {
	tb.Helper()
	tag, err := c.Exec(tb.Context(), sql, args...)
	if err != nil {
		tb.Fatal(err)
	}
	return tag
}

func query[T any](tb testing.TB, c *pgx.Conn, sql string, args ...any) []T {
	tb.Helper()
	rows, err := c.Query(tb.Context(), sql, args...)
	if err != nil {
		tb.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// lease joins s as passing and takes what it can.
func lease(tb testing.TB, s *Store) []Lease {
	tb.Helper()
	if err := s.Join(tb.Context(), "passing"); err != nil {
		tb.Fatal(err)
	}
	held, _, _, err := s.RenewLeases(tb.Context(), false)
	if err != nil {
		tb.Fatal(err)
	}
	return held
}

func claim(tb testing.TB, s *Store, leases []Lease, f ClaimFilter) []Row {
	tb.Helper()
	rows, _, err := s.Claim(tb.Context(), leases, f)
	if err != nil {
		tb.Fatal(err)
	}
	return rows
}

func ids(rows []Row) []int64 {
	out := make([]int64, len(rows))
	for i, r := range rows {
		out[i] = r.QueueID
	}
	return out
}

func status(tb testing.TB, c *pgx.Conn, id int64) string {
	tb.Helper()
	got := query[string](tb, c, `SELECT status FROM webhook_queue WHERE id = $1`, id)
	if len(got) != 1 {
		tb.Fatalf("row %d: found %d times", id, len(got))
	}
	return got[0]
}
