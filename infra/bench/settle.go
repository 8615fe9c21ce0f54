package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// What is measured on a server and a table of a minute's age is the price of
// growing: every page is appended to its file as zeros before it is written, and
// so is every piece of WAL. A queue in service writes where rows and WAL of the
// past were, so ours are given a past. Both contenders have the same one.
// Config.Fresh leaves out that of the tables.

// settled are the settings of a server that is meant to take such a load. With
// less WAL it would be at a checkpoint all the time, of which PostgreSQL itself
// warns (https://www.postgresql.org/docs/15/wal-configuration.html).
var settled = map[string]string{"max_wal_size": "4GB", "min_wal_size": "3GB"}

const (
	segmentsSQL = `
DO $$ BEGIN
	FOR i IN 1..%d LOOP
		PERFORM pg_logical_emit_message(false, 'bench', 'a record'), pg_switch_wal();
	END LOOP;
END $$`
	segmentsEach = 6   // a second of load, 16 MB each
	segmentsMost = 180 // below min_wal_size
)

// makeSegments gives our server WAL segments for so much load, to be written
// over, and a checkpoint, after which a page's first change is logged whole.
func (s *stage) makeSegments(ctx context.Context, load time.Duration) error {
	if s.server == nil {
		return nil
	}
	conn, err := s.connect(ctx, s.database)
	if err != nil {
		return err
	}
	segments := min(1+int(load.Seconds()*segmentsEach), segmentsMost)
	for _, sql := range []string{fmt.Sprintf(segmentsSQL, segments), "CHECKPOINT"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("make WAL segments: %w", err)
		}
	}
	return nil
}

const (
	pastSQL = `
INSERT INTO webhook_queue (sluice_id, ` + copiedColumns + `, status, processed_at)
SELECT gen_random_uuid(), ` + copiedColumns + `, 'completed', clock_timestamp()
FROM (SELECT * FROM webhook_queue WHERE status = 'pending' LIMIT 1) AS w, generate_series(1, $1)`
	forgetSQL = `DELETE FROM webhook_queue WHERE status = 'completed'`
	vacuumSQL = `VACUUM (TRUNCATE false, ANALYZE) webhook_queue`

	roomEach = 16000  // rows for a second of load
	roomMost = 400000 // some 1.5 GB
)

// makeRoom leaves in a queue the room of rows that were there and were deleted,
// as retention does, for so much load.
func (s *stage) makeRoom(ctx context.Context, queue *pgx.Conn, load time.Duration) error {
	if s.config.Fresh {
		return nil
	}
	rows := min(int(load.Seconds()*roomEach), roomMost)
	s.config.Progress(fmt.Sprintf("making room for %d rows", rows))
	for _, step := range []struct {
		sql  string
		args []any
	}{{pastSQL, []any{rows}}, {forgetSQL, nil}, {vacuumSQL, nil}} {
		if _, err := queue.Exec(ctx, step.sql, step.args...); err != nil {
			return fmt.Errorf("make room: %w", err)
		}
	}
	return nil
}
