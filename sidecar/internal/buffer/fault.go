package buffer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrUnavailable means that nothing durable is known to have happened: the
// database is away, or its answer was lost. The sender gets a 503. An error of
// Append that is not ErrUnavailable means that this webhook can never be
// stored: 503 too, but trying again (a spool) is of no use.
var ErrUnavailable = errors.New("database unavailable")

var (
	errReadOnly     = errors.New("server is read-only")
	errUnreplicated = errors.New("synchronous replication was not confirmed")
	errClosed       = errors.New("buffer is closed")
	errStarved      = errors.New("no connection is free")
)

// fault says what an error leaves to be done.
type fault int

const (
	faultBusy fault = iota + 1 // rolled back; the same again will do
	faultRow                   // a value that the server refuses
	faultAway                  // nobody there, or an outcome that nobody knows
)

// faultOf sorts errors by SQLSTATE. What it does not know is unknown outcome:
// that costs a retry, never a webhook.
func faultOf(err error) fault {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || len(pg.Code) != 5 {
		return faultAway
	}
	switch pg.Code {
	case "40P01", "40001", "55P03": // deadlock, serialization, lock not available
		return faultBusy
	}
	switch pg.Code[:2] {
	case "22", "23", "54": // data exception, constraint, program limit
		return faultRow
	}
	return faultAway
}

// refresh drops the pools' connections when err says that the others are likely
// to be as bad: after a failover they lead to the old primary, or nowhere.
// patient is false when it was the caller whose time was over. A statement that
// took too long says nothing about the others while one of them has been answered
// since it began: then the server is slow, and to connect anew would make it
// slower still.
func (s *Store) refresh(err error, patient bool, began time.Time) {
	s.planned.doubt(err)
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError
	switch {
	case errors.Is(err, errStarved): // no server has been asked
		return
	case errors.Is(err, errReadOnly):
	case errors.As(err, &connect): // there is no connection to drop
		return
	case errors.As(err, &pg):
		if pg.Code != "25006" && !strings.HasPrefix(pg.Code, "57P0") && !strings.HasPrefix(pg.Code, "08") {
			return
		}
	case errors.Is(err, context.Canceled), errors.Is(err, errUnreplicated):
		return
	case errors.Is(err, context.DeadlineExceeded) && (!patient || s.answered.Load() > int64(began.Sub(s.opened))):
		return
	}
	s.pool.Reset()
	s.vital.Reset()
}

// unavailable wraps err so that it says what failed and is ErrUnavailable.
func unavailable(what string, err error) error {
	return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
}

const doTries = 3

// do runs f, which must be idempotent, on a connection of pool within limit. A
// deadlock or a lost connection is tried again on another connection, and so is
// a server that is silent for half the limit.
func (s *Store) do(ctx context.Context, pool *pgxpool.Pool, limit time.Duration, what string,
	f func(context.Context, *pgxpool.Conn) error,
) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var err error
	for try := range doTries {
		began := time.Now()
		if err = s.once(ctx, limit/2, pool, f); err == nil {
			s.noteAnswer()
			return nil
		}
		s.refresh(err, ctx.Err() == nil, began)
		if faultOf(err) == faultRow {
			return fmt.Errorf("%s: %w", what, err)
		}
		if !pause(ctx, backoff(try)) {
			break
		}
	}
	return unavailable(what, err)
}

func (s *Store) once(ctx context.Context, limit time.Duration, pool *pgxpool.Pool, f func(context.Context, *pgxpool.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if pool == s.pool {
		if err := s.work.Acquire(ctx, 1); err != nil {
			return fmt.Errorf("%w: %w", errStarved, err)
		}
		defer s.work.Release(1)
	}
	conn, err := acquire(ctx, pool)
	if err != nil {
		return err
	}
	defer conn.Release()
	return f(ctx, conn)
}

// noteAnswer notes that the server has answered a statement.
func (s *Store) noteAnswer() { s.answered.Store(int64(time.Since(s.opened))) }

// acquire returns a connection of the pool. A wait that ends because all of them
// are in use says nothing about the server.
func acquire(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Conn, error) {
	conn, err := pool.Acquire(ctx)
	var connect *pgconn.ConnectError
	if err != nil && !errors.As(err, &connect) {
		return nil, fmt.Errorf("%w: %w", errStarved, err)
	}
	return conn, err
}

// backoff is 10 ms, doubled with each try, 160 ms at most.
func backoff(try int) time.Duration {
	return 10 * time.Millisecond << min(try, 4)
}

// pause waits for d and reports whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

const unreplicated = "sluice.unreplicated"

// watchReplication notes on a connection that its commit did not wait for the
// synchronous standby: the server answers such a commit with a warning and a
// success. The routine's name is looked for because the message is translated.
func watchReplication(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.Routine == "SyncRepWaitForLSN" || strings.Contains(n.Message, "synchronous replication") {
		c.CustomData()[unreplicated] = true
	}
}

// replicated forgets what earlier statements of the connection left behind,
// runs f, and fails when the server warned about replication meanwhile.
func replicated(conn *pgxpool.Conn, f func() error) error {
	marks := conn.Conn().PgConn().CustomData()
	delete(marks, unreplicated)
	if err := f(); err != nil {
		return err
	}
	if marks[unreplicated] != nil {
		return errUnreplicated
	}
	return nil
}
