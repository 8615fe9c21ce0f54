package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// A new server with new tables mostly measures how files grow: PostgreSQL appends
// each page to its file as zeros before it writes the page, and WAL likewise. A
// queue in service reuses the space of deleted rows and old WAL. So the bench
// makes such space first, the same for both contenders. Config.Fresh skips this
// for the tables.

// serverSettings are those of a server for such a load. With less WAL it would
// checkpoint all the time, which PostgreSQL warns about (https://www.postgresql.org/docs/15/wal-configuration.html).
var serverSettings = map[string]string{"max_wal_size": "4GB", "min_wal_size": "3GB"}

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

// makeSegments makes WAL segments for so much load, to be reused, and then a
// checkpoint, after which the first change of a page logs the whole page.
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
	fillSQL = `
INSERT INTO webhook_queue (sluice_id, ` + copiedColumns + `, status, processed_at)
SELECT gen_random_uuid(), ` + copiedColumns + `, 'completed', clock_timestamp()
FROM (SELECT * FROM webhook_queue WHERE status = 'pending' LIMIT 1) AS w, generate_series(1, $1)`
	deleteSQL = `DELETE FROM webhook_queue WHERE status = 'completed'`
	vacuumSQL = `VACUUM (TRUNCATE false, ANALYZE) webhook_queue`

	roomEach = 16000  // rows for a second of load
	roomMost = 400000 // some 1.5 GB
)

// makeRoom inserts and deletes rows, as retention does, so that the table has free
// space for so much load.
func (s *stage) makeRoom(ctx context.Context, queue *pgx.Conn, load time.Duration) error {
	if s.config.Fresh {
		return nil
	}
	rows := min(int(load.Seconds()*roomEach), roomMost)
	s.config.Progress(fmt.Sprintf("making room for %d rows", rows))
	for _, step := range []struct {
		sql  string
		args []any
	}{{fillSQL, []any{rows}}, {deleteSQL, nil}, {vacuumSQL, nil}} {
		if _, err := queue.Exec(ctx, step.sql, step.args...); err != nil {
			return fmt.Errorf("make room: %w", err)
		}
	}
	return nil
}
