package chaos

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/infra/rehearsal/verdict"
)

// A machine that is short of breath does harm that nobody has planned: a commit
// that takes longer than HOLD_TIMEOUT is made twice, a lease that is renewed too
// late changes hands in the middle of a delivery. Such times are faults like any
// other, and the report says how many there were.
const (
	breathEvery = 200 * time.Millisecond
	latest      = 300 * time.Millisecond // that a timer may be
	slowest     = 700 * time.Millisecond // that a commit may be
	breathLimit = 10 * time.Second       // for one commit
)

const (
	lateTimers  = "the machine was short of breath"
	slowCommits = "commits were slow"
)

// breathe notes when timers are late.
func (s *stage) breathe(ctx context.Context) {
	for begin := time.Now(); pause(ctx, breathEvery); begin = time.Now() {
		if time.Since(begin) > breathEvery+latest {
			s.faults.add(verdict.Fault{Kind: lateTimers, Begin: begin, End: time.Now(), Silences: true, Repeats: true})
		}
	}
}

// commits notes when PostgreSQL takes long to commit, past all wires.
func (s *stage) commits(ctx context.Context) {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close(context.WithoutCancel(ctx))
		}
	}()
	for pause(ctx, breathEvery) {
		begin := time.Now()
		conn = s.commit(ctx, conn)
		if took := time.Since(begin); took > slowest && ctx.Err() == nil {
			s.faults.add(verdict.Fault{Kind: slowCommits, Begin: begin, End: time.Now(), Repeats: true, Blinds: true})
		}
	}
}

// unplanned drops the slow commits that are PostgreSQL's own faults.
func unplanned(faults []verdict.Fault) []verdict.Fault {
	return slices.DeleteFunc(slices.Clone(faults), func(slow verdict.Fault) bool {
		return slow.Kind == slowCommits && slices.ContainsFunc(faults, func(f verdict.Fault) bool {
			return (f.Kind == databaseKilled || f.Kind == databaseFrozen) && f.Begin.Before(slow.End) && slow.Begin.Before(f.End)
		})
	})
}

// commit writes something that is flushed like any row, but is none. It returns
// the connection to go on with, nil when there is none.
func (s *stage) commit(ctx context.Context, conn *pgx.Conn) *pgx.Conn {
	ctx, cancel := context.WithTimeout(ctx, breathLimit)
	defer cancel()
	var err error
	if conn == nil {
		if conn, err = pgx.Connect(ctx, s.database); err != nil {
			return nil // it is away, which is no news
		}
	}
	if _, err := conn.Exec(ctx, "SELECT pg_logical_emit_message(true, 'chaos', 'breath')"); err != nil {
		_ = conn.Close(ctx)
		return nil
	}
	return conn
}
