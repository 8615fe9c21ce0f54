package buffer

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"sluice/infra/testkit"
)

const benchSenders = 64

var benchBody = bytes.Repeat([]byte("0123456789abcdef"), 128)        // 2 KB
var benchHead = bytes.Repeat([]byte("X-Header-Name: value\r\n"), 24) // 0.5 KB

// spread runs f b.N times on 64 goroutines.
func spread(b *testing.B, f func(n int) error) {
	b.Helper()
	var next atomic.Int64
	var wait sync.WaitGroup
	b.ResetTimer()
	for range benchSenders {
		wait.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				if err := f(int(n)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkAppend holds 2 KB webhooks for 64 senders at once, beside single
// INSERTs and COPY of the same rows.
func BenchmarkAppend(b *testing.B) {
	ctx := context.Background()
	b.Run("store", func(b *testing.B) {
		s := open(b, testkit.Database(b))
		spread(b, func(n int) error {
			w := hook("lane", n)
			w.Head, w.Body = benchHead, benchBody
			_, err := s.Append(ctx, w)
			return err
		})
	})
	for _, conns := range []int{6, 32} {
		b.Run(fmt.Sprintf("single-%d-connections", conns), func(b *testing.B) {
			pool := benchPool(b, conns)
			spread(b, func(n int) error {
				_, err := pool.Exec(ctx, `INSERT INTO webhook_queue (sluice_id, source, delivery_id, event_name, lane, bucket,
					headers, body, body_size, verified, dedupe_key) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
					benchRow(n)...)
				return err
			})
		})
	}
	b.Run("copy-256-rows", func(b *testing.B) {
		pool := benchPool(b, 3)
		var wait sync.WaitGroup
		var next atomic.Int64
		b.ResetTimer()
		for range 3 {
			wait.Go(func() {
				for n := next.Add(256); n-256 < int64(b.N); n = next.Add(256) {
					var rows [][]any
					for i := range 256 {
						rows = append(rows, benchRow(int(n)+i))
					}
					if _, err := pool.CopyFrom(ctx, pgx.Identifier{"webhook_queue"}, []string{"sluice_id", "source", "delivery_id",
						"event_name", "lane", "bucket", "headers", "body", "body_size", "verified", "dedupe_key"}, pgx.CopyFromRows(rows)); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wait.Wait()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	})
}

func benchRow(n int) []any {
	w := hook("lane", n)
	w.Head, w.Body = benchHead, benchBody
	key, _ := w.DedupeKey()
	return []any{w.ID, w.Source, w.DeliveryID, w.Event, w.Lane, 1, w.Head, w.Body, len(w.Body), w.Verified, key[:]}
}

func benchPool(b *testing.B, conns int) *pgxpool.Pool {
	b.Helper()
	url := testkit.Database(b)
	open(b, url)
	pc, err := pgxpool.ParseConfig(url)
	if err != nil {
		b.Fatal(err)
	}
	pc.MaxConns = int32(conns)
	pool, err := pgxpool.NewWithConfig(context.Background(), pc)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	for range conns { // connected before the clock runs
		c, err := pool.Acquire(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Release()
	}
	return pool
}

// BenchmarkReplay claims and completes held rows as the replay does.
func BenchmarkReplay(b *testing.B) {
	ctx := context.Background()
	url := testkit.Database(b)
	s := open(b, url)
	fill(b, sqlConn(b, url), "l", b.N, 50, benchBody)
	leases := lease(b, s)
	b.ResetTimer()
	for done := 0; done < b.N; {
		rows, _, err := s.Claim(ctx, leases, ClaimFilter{})
		if err != nil || len(rows) == 0 {
			b.Fatal(len(rows), err)
		}
		var out []Outcome
		for _, r := range rows {
			out = append(out, Outcome{QueueID: r.QueueID, Epoch: r.Epoch, Result: Completed, Attempt: r.Attempt})
		}
		if err := s.Settle(ctx, out); err != nil {
			b.Fatal(err)
		}
		done += len(rows)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// fill writes n pending rows in lanes prefix0, prefix1, ... in the
// buckets that the store would give them.
func fill(tb testing.TB, c *pgx.Conn, prefix string, n, lanes int, body []byte) {
	tb.Helper()
	names, in := make([]string, lanes), make([]int16, lanes)
	for i := range names {
		names[i], in[i] = laneKey(fmt.Sprint(prefix, i))
	}
	exec(tb, c, `INSERT INTO webhook_queue (sluice_id, source, lane, bucket, headers, body, body_size, dedupe_key)
		SELECT gen_random_uuid(), 's', w.lane, w.bucket, 'h', $4::bytea, octet_length($4::bytea), sha256(($6 || n)::bytea)
		FROM generate_series(1, $1) AS n JOIN unnest($2::text[], $3::smallint[]) WITH ORDINALITY AS w(lane, bucket, i) ON w.i = 1 + n % $5
		ORDER BY n`, n, names, in, body, lanes, prefix)
}
