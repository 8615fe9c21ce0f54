package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"sluice/infra/bench/load"
)

// inserts writes the sidecar's rows one by one, each its own transaction, over
// as many connections as there are senders: what a receiver would do that keeps
// each webhook before it answers, without its HTTP.
type inserts struct {
	conns []*pgx.Conn
	rows  [][]any
}

const copiedColumns = "source, event_name, lane, bucket, headers, body, body_size, verified, received_at"

const insertSQL = `INSERT INTO webhook_queue (` + copiedColumns + `, sluice_id, delivery_id, dedupe_key)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`

// newInserts makes the same tables in another database and takes the rows to be
// written from a sidecar's queue.
func (s *stage) newInserts(ctx context.Context, queue *pgx.Conn) (*inserts, error) {
	url, err := s.freshDatabase(ctx)
	if err != nil {
		return nil, err
	}
	migrate, err := s.start(s.config.Sidecar, []string{"migrate"}, []string{"DATABASE_URL=" + url})
	if err != nil {
		return nil, err
	}
	if err := migrate.Wait(ctx); err != nil {
		return nil, err
	}
	in := &inserts{}
	rows, err := queue.Query(ctx, "SELECT "+copiedColumns+" FROM webhook_queue")
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	if in.rows, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() }); err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	for range s.config.HoldConnections {
		conn, err := s.connect(ctx, url)
		if err != nil {
			return nil, err
		}
		in.conns = append(in.conns, conn)
	}
	return in, nil
}

// run inserts until the time is over.
func (in *inserts) run(ctx context.Context, warm, measure time.Duration) (*load.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, warm+measure+30*time.Second)
	defer cancel()
	var counting, ending atomic.Bool
	latency := make([][]time.Duration, len(in.conns))
	errs := make([]error, len(in.conns))
	var wait sync.WaitGroup
	for i, conn := range in.conns {
		wait.Go(func() {
			for n := i; !ending.Load() && errs[i] == nil; n++ {
				sent := time.Now()
				errs[i] = insert(ctx, conn, in.rows[n%len(in.rows)])
				if counting.Load() {
					latency[i] = append(latency[i], time.Since(sent))
				}
			}
		})
	}
	pause(ctx, warm)
	started := time.Now()
	counting.Store(true)
	pause(ctx, measure)
	counting.Store(false)
	result := &load.Result{Elapsed: time.Since(started)}
	ending.Store(true)
	wait.Wait()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return nil, err
	}
	result.Latency = slices.Concat(latency...)
	slices.Sort(result.Latency)
	result.Answered = len(result.Latency)
	return result, nil
}

// insert writes a row under ids of its own.
func insert(ctx context.Context, conn *pgx.Conn, row []any) error {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	id := uuid.Must(uuid.NewV7())
	args := append(slices.Clip(row), id.String(), "72d3162e-"+strings.ToLower(id.String()[9:]), key)
	if _, err := conn.Exec(ctx, insertSQL, args...); err != nil {
		return fmt.Errorf("insert row: %w", err)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
