package buffer

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"sluice/sidecar/internal/share"
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
	// Lapsed says that the holder before did not release the lease: it died,
	// perhaps of what it was delivering.
	Lapsed bool
}

// One statement tells of leases and of the living replicas that may hold them; a
// replica's row has no bucket.
const readLeasesSQL = `
SELECT l.bucket, l.holder, l.epoch, l.holder IS NULL OR l.expires_at <= clock_timestamp(), ARRAY[l.key_id]
FROM webhook_leases l
UNION ALL
SELECT NULL, r.id, 0, r.breaker_open, r.key_ids
FROM webhook_replicas r
WHERE r.state IN ('replaying', 'passing') AND r.seen_at > clock_timestamp() - ` + deadSQL + `
ORDER BY 1`

// The epoch is compared and set, so what was read may be old; rows are locked
// in order, so that two replicas cannot deadlock.
const takeLeasesSQL = `
WITH want AS (
	SELECT l.bucket, l.holder IS NOT NULL AND l.holder <> $1 AS lapsed FROM webhook_leases l
	JOIN unnest($2::smallint[], $3::bigint[]) AS w(bucket, epoch) ON w.bucket = l.bucket AND w.epoch = l.epoch
	WHERE l.holder = $1 OR l.holder IS NULL OR l.expires_at <= clock_timestamp()
	ORDER BY l.bucket FOR UPDATE OF l
)
UPDATE webhook_leases l
SET holder = $1, epoch = CASE WHEN l.holder = $1 THEN l.epoch ELSE l.epoch + 1 END,
	expires_at = clock_timestamp() + ` + leaseTTLSQL + `,
	key_id = CASE WHEN l.bucket <> ALL ($4::smallint[]) THEN l.key_id END
FROM want WHERE l.bucket = want.bucket
RETURNING l.bucket, l.epoch, want.lapsed`

// A bucket needs its key until no row of it does. While it has more rows than are
// looked at it is taken to, which costs nothing but that the bucket stays with a
// replica that has the key.
const keyNeededSQL = `
SELECT count(*) = 200 OR COALESCE(bool_or(r.key_id = $2), false) FROM (
	SELECT q.key_id FROM webhook_queue q WHERE q.bucket = $1 AND q.` + active + `
	ORDER BY q.lane, q.id LIMIT 200) AS r`

// RenewLeases renews this replica's leases and takes free ones up to its fair
// share among the living replicas that are replaying or passing. excess are
// buckets held beyond it while another replica has less than its own, or which
// another should have: its breaker is closed and this one's open, or it has the
// key that the bucket needs. Hand them over with ReleaseLeases once nothing of
// them is in hand (empty, it is not nil, so it may be passed on as it is). short
// says that this replica has less than its fair share, so others will release some
// soon; among more replicas than buckets nobody is due one. Call it every 3 s or
// so, and only while replaying or passing.
func (s *Store) RenewLeases(ctx context.Context, breakerOpen bool) (held []Lease, excess []int, short bool, err error) {
	err = s.do(ctx, s.vital, vitalTimeout, "renew leases", func(ctx context.Context, c *pgxpool.Conn) error {
		leases, able, err := readLeases(ctx, c)
		if err != nil {
			return err
		}
		me := share.Replica{ID: s.instance.String(), Open: breakerOpen, Keys: hexes(s.sealer.ids())}
		var want []share.Bucket
		want, excess = share.Share(me, leases, able)
		held, err = s.takeLeases(ctx, c, want)
		short = len(held) < share.Due(me, leases, able)
		return err
	})
	if err != nil {
		return nil, []int{}, false, err
	}
	return held, excess, short, nil
}

func readLeases(ctx context.Context, c *pgxpool.Conn) (leases []share.Bucket, able []share.Replica, err error) {
	rows, err := c.Query(ctx, readLeasesSQL)
	if err != nil {
		return nil, nil, err
	}
	var bucket pgtype.Int2
	var id pgtype.UUID
	var epoch int64
	var flag bool
	var keys [][]byte
	_, err = pgx.ForEachRow(rows, []any{&bucket, &id, &epoch, &flag, &keys}, func() error {
		if bucket.Valid {
			leases = append(leases, share.Bucket{Number: int(bucket.Int16), Holder: id.String(), Epoch: epoch, Free: flag, Key: hex.EncodeToString(keys[0])})
		} else {
			able = append(able, share.Replica{ID: id.String(), Open: flag, Keys: hexes(keys)})
		}
		return nil
	})
	return leases, able, err
}

// hexes returns ids of keys as text.
func hexes(ids [][]byte) []string {
	text := make([]string, len(ids))
	for i, id := range ids {
		text[i] = hex.EncodeToString(id)
	}
	return text
}

func (s *Store) takeLeases(ctx context.Context, c *pgxpool.Conn, want []share.Bucket) ([]Lease, error) {
	if len(want) == 0 {
		return nil, nil
	}
	in, epochs := make([]int16, len(want)), make([]int64, len(want))
	keyless := make([]int16, 0, len(want)) // whose key no row needs any more
	for i, l := range want {
		in[i], epochs[i] = int16(l.Number), l.Epoch
		if l.Key == "" {
			continue
		}
		key, err := hex.DecodeString(l.Key)
		if err != nil {
			return nil, fmt.Errorf("decode key id: %w", err)
		}
		var needed bool
		if err := paged(ctx, c, keyNeededSQL, []any{l.Number, key}, &needed); err != nil {
			return nil, err
		}
		if !needed {
			keyless = append(keyless, int16(l.Number))
		}
	}
	until := time.Now().Add(leaseTrust)
	rows, err := c.Query(ctx, takeLeasesSQL, s.instance, in, epochs, keyless)
	if err != nil {
		return nil, err
	}
	var held []Lease
	lease := Lease{Until: until}
	_, err = pgx.ForEachRow(rows, []any{&lease.Bucket, &lease.Epoch, &lease.Lapsed}, func() error {
		held = append(held, lease)
		return nil
	})
	return held, err
}

const needKeySQL = `
UPDATE webhook_leases SET key_id = $4 WHERE bucket = $1 AND epoch = $2 AND holder = $3`

// NeedKey says that a row of the leased bucket is sealed with a key that this
// replica lacks (Row.Locked): the lease goes to a replica that has it, if there is
// one.
func (s *Store) NeedKey(ctx context.Context, l Lease, key string) error {
	id, err := hex.DecodeString(key)
	if err != nil {
		return fmt.Errorf("need key: %w", err)
	}
	return s.do(ctx, s.vital, vitalTimeout, "ask for key", func(ctx context.Context, c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, needKeySQL, l.Bucket, l.Epoch, s.instance, id)
		return err
	})
}

const releaseLeasesSQL = `
WITH mine AS (
	SELECT bucket FROM webhook_leases
	WHERE holder = $1 AND ($2::smallint[] IS NULL OR bucket = ANY ($2))
	ORDER BY bucket FOR UPDATE
)
UPDATE webhook_leases l SET holder = NULL, expires_at = '-infinity'
FROM mine WHERE l.bucket = mine.bucket`

// ReleaseLeases lets go of buckets, of all when it is nil: whoever takes them
// knows that nothing of them is under way. Settle first what was attempted.
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
