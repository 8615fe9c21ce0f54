package buffer

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	migrateTimeout = 90 * time.Second // for each change, its waiting included
	buildTimeout   = time.Hour        // for a change that nobody has to wait for

	// A change of a table waits for everybody who reads it, and whoever comes
	// later waits behind the change: the appends too. So it steps back long
	// before HOLD_TIMEOUT, lets them pass and tries again. An autovacuum is
	// waited for as well: the server cancels one only after deadlock_timeout, 1 s.
	changeWait    = 300 * time.Millisecond
	changeMinRest = 500 * time.Millisecond
	changeMaxRest = 5 * time.Second
	lockRest      = 100 * time.Millisecond // asking for the lock keeps nobody waiting
)

var errBuilding = errors.New("another process builds the index")

// apart is the first line of a migration that is not one transaction but
// statements, each on its own. They are separated by empty lines, and each must
// do no harm when it is repeated: the migration may end after any of them. A DO
// block, which may commit in between, and what is done CONCURRENTLY run outside
// any transaction; everything else in one of its own.
const apart = "-- sluice: no transaction\n"

// apartFrom returns the statements of such a migration, without comment lines.
func apartFrom(sql string) (statements []string, ok bool) {
	if !strings.HasPrefix(sql, apart) {
		return nil, false
	}
	for paragraph := range strings.SplitSeq(sql, "\n\n") {
		var lines []string
		for line := range strings.Lines(paragraph) {
			if !strings.HasPrefix(strings.TrimSpace(line), "--") {
				lines = append(lines, line)
			}
		}
		if statement := strings.TrimSpace(strings.Join(lines, "")); statement != "" {
			statements = append(statements, statement)
		}
	}
	return statements, true
}

var (
	buildsIndex = regexp.MustCompile(`^CREATE (?:UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS (\w+)\s`)
	runsAlone   = regexp.MustCompile(`^DO\s|^\w+ (?:UNIQUE )?INDEX CONCURRENTLY\s`)
)

// change runs one statement of a migration that is no transaction.
func (s *Store) change(ctx context.Context, migration, statement string) error {
	if index := buildsIndex.FindStringSubmatch(statement); index != nil {
		s.config.Log.InfoContext(ctx, "Database index is built", "migration", migration, "index", index[1])
		return s.patiently(ctx, buildTimeout, migration, func(ctx context.Context) error {
			return s.buildIndex(ctx, index[1], statement)
		})
	}
	if runsAlone.MatchString(statement) {
		return s.patiently(ctx, buildTimeout, migration, func(ctx context.Context) error {
			return s.alone(ctx, statement)
		})
	}
	return s.briefly(ctx, migration, execute(statement))
}

type part func(context.Context, pgx.Tx) error

// execute takes several statements at once.
func execute(sql string) part {
	return func(ctx context.Context, tx pgx.Tx) error {
		return tx.Conn().PgConn().Exec(ctx, sql).Close()
	}
}

// briefly runs a transaction that never lets others wait behind it for long.
func (s *Store) briefly(ctx context.Context, migration string, parts ...part) error {
	// A quarter of the time that an append has, where that is less.
	wait := min(changeWait, s.config.AppendTimeout/4)
	begin := execute(fmt.Sprintf(`SET LOCAL lock_timeout = '%dms'`, max(wait.Milliseconds(), 1)))
	return s.patiently(ctx, migrateTimeout, migration, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			for _, run := range append([]part{begin}, parts...) {
				if err := run(ctx, tx); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// patiently runs f again while the table, or the migration itself, is in the
// hands of others.
func (s *Store) patiently(ctx context.Context, limit time.Duration, migration string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for rest := changeMinRest; ; rest = min(2*rest, changeMaxRest) {
		err := f(ctx)
		if err == nil || faultOf(err) != faultBusy && !errors.Is(err, errMigrating) && !errors.Is(err, errBuilding) {
			return err
		}
		if rest == changeMinRest {
			s.config.Log.WarnContext(ctx, "Database migration waits", "migration", migration, "err", err)
		}
		wait := rest
		if errors.Is(err, errMigrating) {
			wait = lockRest
		}
		if !pause(ctx, wait) {
			return err
		}
	}
}

// alone runs one statement outside any transaction.
func (s *Store) alone(ctx context.Context, statement string) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	return conn.Conn().PgConn().Exec(ctx, statement).Close()
}

// A build goes on in the server when its client has died, and has the table in
// the view from before its index is known. NULL is what the view says to a role
// that may not know.
const indexStateSQL = `
SELECT CASE WHEN i.indisvalid THEN 'valid'
	WHEN EXISTS (SELECT 1 FROM pg_stat_progress_create_index p
		WHERE p.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND (p.relid = i.indrelid OR p.relid IS NULL)) THEN 'building'
	ELSE 'broken' END
FROM pg_index i WHERE i.indexrelid = to_regclass($1)`

func (s *Store) indexState(ctx context.Context, index string) (state string, err error) {
	err = s.pool.QueryRow(ctx, indexStateSQL, index).Scan(&state)
	if errors.Is(err, pgx.ErrNoRows) {
		return "absent", nil
	}
	return state, err
}

// buildIndex builds an index while the table is written. A build that was cut
// off leaves a broken index behind, which IF NOT EXISTS takes for one.
func (s *Store) buildIndex(ctx context.Context, index, statement string) error {
	state, err := s.indexState(ctx, index)
	switch {
	case err != nil || state == "valid":
		return err
	case state == "building":
		return errBuilding
	case state == "broken":
		if err := s.alone(ctx, `DROP INDEX CONCURRENTLY IF EXISTS `+index); err != nil {
			return fmt.Errorf("drop broken index: %w", err)
		}
	}
	if err := s.alone(ctx, statement); err != nil {
		return err
	}
	// It did nothing if somebody without the lock began before.
	if state, err = s.indexState(ctx, index); err == nil && state != "valid" {
		err = errBuilding
	}
	return err
}
