package buffer

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A lease is written for 15 s by the database's clock and trusted for 10 s by
// this process's monotonic one, counted from before it was asked for. The 5 s
// between are for clocks that run apart and processes that are held up. The
// same 15 s make a replica dead.
const (
	leaseTrust  = 10 * time.Second
	leaseTTLSQL = `interval '15 seconds'`
	deadSQL     = `interval '15 seconds'`
)

// Lease is the right to claim the rows of one bucket of lanes.
type Lease struct {
	Bucket int
	Epoch  int64     // rises with each holder
	Until  time.Time // monotonic: deliver nothing of the bucket after it
}

type leaseRow struct {
	bucket int16
	holder pgtype.UUID
	epoch  int64
	free   bool // nobody's, or run out
}

const readLeasesSQL = `
SELECT l.bucket, l.holder, l.epoch, l.holder IS NULL OR l.expires_at <= clock_timestamp(),
	ARRAY(SELECT r.id FROM webhook_replicas r
	      WHERE r.state IN ('replaying', 'passing') AND r.seen_at > clock_timestamp() - ` + deadSQL + `)
FROM webhook_leases l ORDER BY l.bucket`

// The epoch is compared and set, so what was read may be old; rows are locked
// in order, so that two replicas cannot deadlock.
const takeLeasesSQL = `
WITH want AS (
	SELECT l.bucket FROM webhook_leases l
	JOIN unnest($2::smallint[], $3::bigint[]) AS w(bucket, epoch) ON w.bucket = l.bucket AND w.epoch = l.epoch
	WHERE l.holder = $1 OR l.holder IS NULL OR l.expires_at <= clock_timestamp()
	ORDER BY l.bucket FOR UPDATE OF l
)
UPDATE webhook_leases l
SET holder = $1, epoch = CASE WHEN l.holder = $1 THEN l.epoch ELSE l.epoch + 1 END,
	expires_at = clock_timestamp() + ` + leaseTTLSQL + `
FROM want WHERE l.bucket = want.bucket
RETURNING l.bucket, l.epoch`

// RenewLeases renews this replica's leases and takes free ones up to its fair
// share among the living replicas that are replaying or passing. excess are
// buckets held beyond it while another replica has less than its own: hand them
// over with ReleaseLeases once nothing of them is in hand (empty, it is not nil,
// so it may be passed on as it is). Call it every 3 s or so, and only while
// replaying or passing.
func (s *Store) RenewLeases(ctx context.Context) (held []Lease, excess []int, err error) {
	err = s.do(ctx, s.vital, vitalTimeout, "renew leases", func(ctx context.Context, c *pgxpool.Conn) error {
		leases, able, err := readLeases(ctx, c)
		if err != nil {
			return err
		}
		var want []leaseRow
		want, excess = share(s.instance, leases, able)
		held, err = s.takeLeases(ctx, c, want)
		return err
	})
	if err != nil {
		return nil, []int{}, err
	}
	return held, excess, nil
}

func readLeases(ctx context.Context, c *pgxpool.Conn) (leases []leaseRow, able []uuid.UUID, err error) {
	rows, err := c.Query(ctx, readLeasesSQL)
	if err != nil {
		return nil, nil, err
	}
	var l leaseRow
	_, err = pgx.ForEachRow(rows, []any{&l.bucket, &l.holder, &l.epoch, &l.free, &able}, func() error {
		leases = append(leases, l)
		return nil
	})
	return leases, able, err
}

func (s *Store) takeLeases(ctx context.Context, c *pgxpool.Conn, want []leaseRow) ([]Lease, error) {
	if len(want) == 0 {
		return nil, nil
	}
	in, epochs := make([]int16, len(want)), make([]int64, len(want))
	for i, l := range want {
		in[i], epochs[i] = l.bucket, l.epoch
	}
	until := time.Now().Add(leaseTrust)
	rows, err := c.Query(ctx, takeLeasesSQL, s.instance, in, epochs)
	if err != nil {
		return nil, err
	}
	var held []Lease
	lease := Lease{Until: until}
	_, err = pgx.ForEachRow(rows, []any{&lease.Bucket, &lease.Epoch}, func() error {
		held = append(held, lease)
		return nil
	})
	return held, err
}

// share decides what me renews and takes, and what it has too much of. With n
// replicas everyone is due 16/n buckets, and the first 16%n to ask one more.
func share(me uuid.UUID, leases []leaseRow, able []uuid.UUID) (want []leaseRow, excess []int) {
	count := map[uuid.UUID]int{me: 0}
	for _, id := range able {
		count[id] = 0
	}
	var free []leaseRow
	for _, l := range leases {
		holder := uuid.UUID(l.holder.Bytes)
		switch {
		case l.holder.Valid && holder == me: // also when it ran out and nobody took it
			want = append(want, l)
		case l.free:
			free = append(free, l)
		}
		if _, ok := count[holder]; ok && l.holder.Valid && (!l.free || holder == me) {
			count[holder]++
		}
	}
	due, extra := len(leases)/len(count), len(leases)%len(count)
	lacking := 0 // what the others are short of
	for id, n := range count {
		if id == me {
			continue
		}
		lacking += max(0, due-n)
		if n > due {
			extra--
		}
	}
	limit := due
	if extra > 0 {
		limit++
	}
	mine := len(want)
	excess = []int{} // never nil, which ReleaseLeases takes for all
	if take := min(len(free), limit-mine); take > 0 {
		want, free = append(want, free[:take]...), free[take:]
	}
	for give := max(min(mine-due, lacking-len(free)), mine-due-1); give > 0; give-- {
		mine--
		excess = append(excess, int(want[mine].bucket))
	}
	return want, excess
}

const releaseLeasesSQL = `
WITH mine AS (
	SELECT bucket, epoch FROM webhook_leases
	WHERE holder = $1 AND ($2::smallint[] IS NULL OR bucket = ANY ($2))
	ORDER BY bucket FOR UPDATE
), returned AS (
	UPDATE webhook_queue q
	SET status = 'pending', claim_epoch = NULL, attempts = GREATEST(q.attempts - 1, 0)
	FROM mine
	WHERE q.bucket = mine.bucket AND q.claim_epoch = mine.epoch AND q.` + active + `
		AND q.awaited_by IS NULL
)
UPDATE webhook_leases l SET holder = NULL, expires_at = '-infinity'
FROM mine WHERE l.bucket = mine.bucket`

// ReleaseLeases lets go of buckets, of all when it is nil. What is claimed from
// them and was not settled becomes pending, its attempt given back: settle
// first what was attempted.
func (s *Store) ReleaseLeases(ctx context.Context, buckets []int) error {
	if buckets != nil && len(buckets) == 0 {
		return nil
	}
	var in []int16
	for _, b := range buckets {
		in = append(in, int16(b))
	}
	return s.do(ctx, s.vital, vitalTimeout, "release leases", func(ctx context.Context, c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, releaseLeasesSQL, s.instance, in)
		return err
	})
}
