package verdict

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"sluice/infra/rehearsal/sender"
)

// Evidence is everything that a run is judged by.
type Evidence struct {
	Webhooks []sender.Webhook // from the senders' ledger
	Records  []Record         // from the recorder's file: what the jobs did
	Jobs     []Job            // from the app's table: what the app accepted, and in which order
	// AcrossReplicas asks for order between webhooks that different replicas
	// acknowledged.
	AcrossReplicas bool
	// BalancerRetries is how often the balancer may have repeated a request by itself.
	BalancerRetries int
	// Faults are those of the replicas and the database during the run. They
	// explain repeated deliveries and answers that never came.
	Faults []Fault
	// Forced are the lanes that a replica opened in spite of their backlog, Blind
	// the times in which one forwarded in lanes of unknown backlog. Only the
	// sidecar's log says so, as the contract demands; the verdict checks for Blind
	// that it had a reason.
	Forced []Forced
	Blind  []Blind
	// Stored are the rows that are still stored, by Sluice-Id.
	Stored map[string]string
}

// Forced is a lane that a replica opened although it did not catch up
// (CATCHUP_LIMIT): from then on its order is not promised there.
type Forced struct {
	At            time.Time
	Replica, Lane string
}

// Blind is a time in which a replica without the database forwarded in lanes that
// may have had stored rows.
type Blind struct {
	Replica    string
	Begin, End time.Time
}

// Record is one line of the recorder: a job that ran to its end, or, where there
// are no jobs, a webhook that an app took.
type Record struct {
	At       time.Time
	SluiceID string
	ID       string // of the rehearsal, from the body
	Hash     uint64 // of the body
	Bytes    int

	// The rest is known only where the app itself writes the records.
	Place    int64     // in the order of all records, from 1
	Begun    time.Time // when the app got it
	Replica  string    // whose app took it
	Replayed bool      // it came from the queue
}

// Job is one row of the app's job table.
type Job struct {
	ID       int64 // ascends in the order in which the app stored its jobs
	SluiceID string
	State    string
	Attempt  int // how often it was started
	Created  time.Time
}

// ReadRecords reads the recorder's file. A last line that is still being
// written is left out.
func ReadRecords(r io.Reader) ([]Record, error) {
	var records []Record
	lines := bufio.NewReader(r)
	for number := 1; ; number++ {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read records: %w", err)
		}
		record, err := parse(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("read record in line %d: %w", number, err)
		}
		records = append(records, record)
	}
}

func parse(line string) (Record, error) {
	f := strings.Split(line, "\t")
	if len(f) != 6 {
		return Record{}, fmt.Errorf("%d fields, want 6", len(f))
	}
	at, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil {
		return Record{}, fmt.Errorf("parse time: %w", err)
	}
	hash, err := strconv.ParseUint(f[4], 16, 64)
	if err != nil {
		return Record{}, fmt.Errorf("parse hash: %w", err)
	}
	size, err := strconv.Atoi(f[5])
	if err != nil {
		return Record{}, fmt.Errorf("parse size: %w", err)
	}
	return Record{At: time.Unix(0, at), SluiceID: f[1], ID: f[3], Hash: hash, Bytes: size}, nil
}
