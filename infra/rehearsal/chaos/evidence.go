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

// evidence is what the run left behind, for the verdict and for the stories.
type evidence struct {
	verdict.Evidence
	deliveries []receiver.Delivery
	broken     int // lines that an app did not get to write whole
	failed     []failedRow
	final      map[string]bool // Sluice-Ids that an app has turned down for good
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
	e.Webhooks, e.Faults, e.AcrossReplicas = s.load.webhooks(), s.faults.all(), s.config.Order == "strict"
	e.Records = make([]verdict.Record, 0, len(e.deliveries))
	for i := range e.deliveries {
		d := &e.deliveries[i]
		if d.Status/100 == 5 {
			continue // not taken: it asks for another try
		}
		e.final[d.SluiceID] = e.final[d.SluiceID] || d.Status/100 == 4
		e.Records = append(e.Records, verdict.Record{
			At: d.Done, Begun: d.Begun, SluiceID: d.SluiceID, ID: d.ID, Hash: d.Sum, Bytes: d.Bytes,
			Place: int64(d.Place), Replica: d.Replica, Replayed: d.Replayed,
		})
	}
	if e.Forced, err = s.forced(); err != nil {
		return nil, err
	}
	err = s.query(ctx, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, "SELECT id, sluice_id::text, attempts, coalesce(last_error, '') FROM webhook_queue WHERE status = 'failed' ORDER BY id")
		if err != nil {
			return err
		}
		e.failed, err = pgx.CollectRows(rows, pgx.RowToStructByPos[failedRow])
		return err
	})
	return e, err
}

// forcedMessage is the sidecar's word for a lane opened by CATCHUP_LIMIT.
const forcedMessage = "Lane opened with a backlog"

// forced reads from the sidecars' logs which lanes were opened by force: there
// is no other sign of which lane it was.
func (s *stage) forced() (all []verdict.Forced, err error) {
	err = s.eachLine("-sidecar.log", func(replica string, line []byte) {
		if !bytes.Contains(line, []byte(forcedMessage)) {
			return
		}
		var said struct {
			Time time.Time `json:"time"`
			Lane string    `json:"lane"`
		}
		if json.Unmarshal(line, &said) == nil {
			all = append(all, verdict.Forced{At: said.Time, Replica: replica, Lane: said.Lane})
		}
	})
	return all, err
}

// eachLine goes through the logs with that suffix.
func (s *stage) eachLine(suffix string, see func(replica string, line []byte)) error {
	paths, err := filepath.Glob(filepath.Join(s.dir, "*"+suffix))
	if err != nil {
		return fmt.Errorf("find logs: %w", err)
	}
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("open log: %w", err)
		}
		replica := strings.TrimSuffix(filepath.Base(path), suffix)
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
