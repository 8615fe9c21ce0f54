package chaos

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/infra/rehearsal/sender"
	"sluice/infra/rehearsal/verdict"
)

// An overloaded machine causes faults that are not in the plan: a commit that
// takes longer than HOLD_TIMEOUT is made twice, and a lease that is renewed too
// late changes hands in the middle of a delivery. Such times count as faults, and
// the report says how many there were.
const (
	overloadPoll = 200 * time.Millisecond
	lateTimer    = 300 * time.Millisecond
	slowCommit   = 700 * time.Millisecond
	commitLimit  = 10 * time.Second // for one commit
)

const (
	lateTimers  = "the machine was overloaded"
	slowCommits = "commits were slow"
)

// watchTimers records when timers are late.
func (s *stage) watchTimers(ctx context.Context) {
	for begin := time.Now(); sender.Pause(ctx, overloadPoll); begin = time.Now() {
		if time.Since(begin) > overloadPoll+lateTimer {
			s.faults.add(verdict.Fault{Kind: lateTimers, Begin: begin, End: time.Now(), Silences: true, Repeats: true})
		}
	}
}

// watchCommits records when PostgreSQL is slow to commit. It bypasses the wires.
func (s *stage) watchCommits(ctx context.Context) {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close(context.WithoutCancel(ctx))
		}
	}()
	for sender.Pause(ctx, overloadPoll) {
		begin := time.Now()
		conn = s.commit(ctx, conn)
		if took := time.Since(begin); took > slowCommit && ctx.Err() == nil {
			s.faults.add(verdict.Fault{Kind: slowCommits, Begin: begin, End: time.Now(), Repeats: true, Blinds: true})
		}
	}
}

// unplanned drops the slow commits that a planned fault of PostgreSQL explains.
func unplanned(faults []verdict.Fault) []verdict.Fault {
	return slices.DeleteFunc(slices.Clone(faults), func(slow verdict.Fault) bool {
		return slow.Kind == slowCommits && slices.ContainsFunc(faults, func(f verdict.Fault) bool {
			return (f.Kind == databaseKilled || f.Kind == databaseFrozen) && f.Begin.Before(slow.End) && slow.Begin.Before(f.End)
		})
	})
}

// commit writes a WAL message, which is flushed as a row is, but adds no row. It
// returns the connection to use next time, nil when there is none.
func (s *stage) commit(ctx context.Context, conn *pgx.Conn) *pgx.Conn {
	ctx, cancel := context.WithTimeout(ctx, commitLimit)
	defer cancel()
	var err error
	if conn == nil {
		if conn, err = pgx.Connect(ctx, s.database); err != nil {
			return nil // it is down; a fault says so
		}
	}
	if _, err := conn.Exec(ctx, "SELECT pg_logical_emit_message(true, 'chaos', 'commit')"); err != nil {
		_ = conn.Close(ctx)
		return nil
	}
	return conn
}
