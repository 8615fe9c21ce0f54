package buffer

import (
	"context"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Flow is what this process has added to the queue and taken from it since it was
// opened: what there is between two counts.
type Flow struct {
	Rows, Bytes, UnverifiedBytes int64 // stored, of headers and bodies; copies not counted
	Ended                        int64 // rows completed or failed
}

type flow struct{ rows, bytes, unverified, ended atomic.Int64 }

func (f *flow) stored(e *entry) {
	f.rows.Add(1)
	f.bytes.Add(int64(e.size))
	if e.webhook.Verified == "" {
		f.unverified.Add(int64(e.size))
	}
}

// Flow returns the sums so far.
func (s *Store) Flow() Flow {
	return Flow{s.flow.rows.Load(), s.flow.bytes.Load(), s.flow.unverified.Load(), s.flow.ended.Load()}
}

const insertedSQL = `SELECT last_value FROM webhook_queue_id_seq`

// Inserted returns a number that rises by one at least for each row that anybody
// inserts, other replicas, older versions and operators included: no more rows
// have come since a count than it has risen.
func (s *Store) Inserted(ctx context.Context) (n int64, err error) {
	err = s.do(ctx, s.vital, vitalTimeout, "read sequence", func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, insertedSQL).Scan(&n)
	})
	return n, err
}
