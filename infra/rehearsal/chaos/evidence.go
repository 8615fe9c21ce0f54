package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/infra/rehearsal/chaos/receiver"
	"sluice/infra/rehearsal/verdict"
)

// evidence is what the verdict and the stories are made from.
type evidence struct {
	verdict.Evidence
	deliveries []receiver.Delivery
	broken     int // lines that an app could not finish writing
	failed     []failedRow
	final      map[string]bool // Sluice-Ids that an app has refused for good
}

// failedRow is a dead letter.
type failedRow struct {
	ID       int64
	SluiceID string
	Attempts int
	Error    string
}

func (s *stage) gather(ctx context.Context) (*evidence, error) {
	file, err := os.Open(s.records)
	if err != nil {
		return nil, fmt.Errorf("open records: %w", err)
	}
	defer file.Close()
	e := &evidence{final: map[string]bool{}}
	if e.deliveries, e.broken, err = receiver.Read(file); err != nil {
		return nil, err
	}
	e.Webhooks, e.Faults, e.AcrossReplicas = s.load.webhooks(), unplanned(s.faults.all()), s.config.Order == "strict"
	e.Records = make([]verdict.Record, 0, len(e.deliveries))
	for i := range e.deliveries {
		d := &e.deliveries[i]
		if d.Status/100 == 5 {
			continue // not taken: a 5xx asks for another try
		}
		e.final[d.SluiceID] = e.final[d.SluiceID] || d.Status/100 == 4
		e.Records = append(e.Records, verdict.Record{
			At: d.Done, Begun: d.Begun, SluiceID: d.SluiceID, ID: d.ID, Hash: d.Sum, Bytes: d.Bytes,
			Place: int64(d.Place), Replica: d.Replica, Replayed: d.Replayed,
		})
	}
	if err := s.readLogs(e); err != nil {
		return nil, err
	}
	return e, s.query(ctx, func(ctx context.Context, c *pgx.Conn) error { return e.readRows(ctx, c) })
}

const (
	failedSQL = `SELECT id, sluice_id::text, attempts, coalesce(last_error, '') FROM webhook_queue WHERE status = 'failed' ORDER BY id`
	storedSQL = `SELECT id, sluice_id::text, status FROM webhook_queue WHERE status IN ('pending', 'processing')`
)

// readRows reads the dead letters and the rows that are still stored.
func (e *evidence) readRows(ctx context.Context, c *pgx.Conn) error {
	rows, err := c.Query(ctx, failedSQL)
	if err != nil {
		return err
	}
	if e.failed, err = pgx.CollectRows(rows, pgx.RowToStructByPos[failedRow]); err != nil {
		return err
	}
	if rows, err = c.Query(ctx, storedSQL); err != nil {
		return err
	}
	e.Stored = map[string]string{}
	var id int64
	var sluiceID, state string
	_, err = pgx.ForEachRow(rows, []any{&id, &sluiceID, &state}, func() error {
		e.Stored[sluiceID] = fmt.Sprintf("row %d, %s", id, state)
		return nil
	})
	return err
}

// The sidecar's log messages for a lane opened by CATCHUP_LIMIT, and for the
// beginning and the end of a time in which it forwards in lanes of unknown
// backlog.
var (
	forcedMessage = []byte("Lane opened with a backlog")
	blindMessage  = []byte("webhooks are forwarded without regard to what may be held")
	seeingMessage = []byte("PostgreSQL is back, held webhooks go first again")
)

// readLogs finds in the sidecars' logs when the contract promised no order.
func (s *stage) readLogs(e *evidence) error {
	blind := map[string]int{} // by replica: the unfinished entry of e.Blind, counted from 1
	end := func(replica string, at time.Time) {
		if i := blind[replica]; i > 0 {
			e.Blind[i-1].End = at
			delete(blind, replica)
		}
	}
	err := s.eachLine(func(replica string, text []byte) {
		switch {
		case bytes.Contains(text, forcedMessage):
			var said struct {
				Lane string `json:"lane"`
			}
			if json.Unmarshal(text, &said) == nil {
				e.Forced = append(e.Forced, verdict.Forced{At: stamp(text), Replica: replica, Lane: said.Lane})
			}
		case bytes.Contains(text, blindMessage):
			end(replica, stamp(text)) // an earlier process's
			e.Blind = append(e.Blind, verdict.Blind{Replica: replica, Begin: stamp(text), End: time.Now()})
			blind[replica] = len(e.Blind)
		case bytes.Contains(text, seeingMessage):
			end(replica, stamp(text))
		}
	})
	// A process that was killed logged no end.
	for i := range e.Blind {
		for _, f := range e.Faults {
			if b := &e.Blind[i]; f.Forgets && f.Replica == b.Replica && f.Begin.After(b.Begin) && f.Begin.Before(b.End) {
				b.End = f.Begin
			}
		}
	}
	return err
}

const logSuffix = "-sidecar.log"

// eachLine calls see with each line of the sidecars' logs.
func (s *stage) eachLine(see func(replica string, line []byte)) error {
	paths, err := filepath.Glob(filepath.Join(s.dir, "*"+logSuffix))
	if err != nil {
		return fmt.Errorf("find logs: %w", err)
	}
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("open log: %w", err)
		}
		replica := strings.TrimSuffix(filepath.Base(path), logSuffix)
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			see(replica, lines.Bytes())
		}
		err = lines.Err()
		file.Close()
		if err != nil {
			return fmt.Errorf("read log %s: %w", path, err)
		}
	}
	return nil
}
