package buffer

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"sluice/sidecar/internal/webhook"
)

// Row is a claimed webhook.
type Row struct {
	QueueID  int64
	Attempt  int // the number of the attempt that may now be made: one more than have been recorded
	Bucket   int
	Epoch    int64
	BodySize int
	Webhook  webhook.Webhook // Body is nil when BodySize is over 256 KB: LoadBody reads it
	Err      error           // the row can never be read: settle it as Failed
	// Locked is the id of the key that the row was sealed with and this replica
	// lacks, in hex; "" for a row that can be opened. Its lane waits for a replica
	// that has the key: see NeedKey.
	Locked string

	keyID []byte
}

// ClaimFilter bounds a claim. Zero limits mean 100 rows, 32 of a lane, 8 MB.
type ClaimFilter struct {
	SkipLanes []string // nothing of these
	// InHand are the rows that the caller has claimed and neither settled nor
	// forgotten: they are not returned again.
	InHand   []int64
	Limit    int
	PerLane  int
	MaxBytes int // of the bodies that come with the rows; the first row may exceed it
}

const (
	defaultClaimRows  = 100
	defaultClaimLane  = 32
	defaultClaimBytes = 8 << 20
)

// The lanes of the held buckets are found by one index probe each, so neither a
// long backlog nor a skipped lane of any length is read through. Nothing behind
// an awaited row of its lane is picked. The lease is checked by the statement
// itself: a claim that arrives late takes nothing. The rows in hand and the lanes
// to skip are asked for as subqueries, which are hashed once: an array that is a
// parameter is searched from end to end for each row.
//
// A claim writes nothing. The lease makes its holder the only reader of the
// bucket, and there is no cursor: each claim reads from the lowest id, because
// ids commit out of order, and a row that commits late, or that an operator makes
// pending again, has to be found.
const claimSQL = `
WITH RECURSIVE held AS MATERIALIZED (
	SELECT l.bucket, l.epoch FROM webhook_leases l
	JOIN unnest($1::smallint[], $2::bigint[]) AS w(bucket, epoch) ON w.bucket = l.bucket AND w.epoch = l.epoch
	WHERE l.holder = $3 AND l.expires_at > clock_timestamp()
), lanes AS (
	SELECT h.bucket, f.lane FROM held h CROSS JOIN LATERAL (
		SELECT q.lane FROM webhook_queue q
		WHERE q.bucket = h.bucket AND q.` + active + `
		ORDER BY q.lane LIMIT 1) AS f
	UNION ALL
	SELECT l.bucket, n.lane FROM lanes l CROSS JOIN LATERAL (
		SELECT q.lane FROM webhook_queue q
		WHERE q.bucket = l.bucket AND q.lane > l.lane AND q.` + active + `
		ORDER BY q.lane LIMIT 1) AS n
), heads AS (
	SELECT r.id, r.size FROM lanes l
	CROSS JOIN LATERAL (SELECT COALESCE((
		SELECT a.id FROM webhook_queue a
		WHERE a.bucket = l.bucket AND a.lane = l.lane AND a.` + active + ` AND a.awaited_by IS NOT NULL
		ORDER BY a.id LIMIT 1), 9223372036854775807) AS id) AS awaited
	CROSS JOIN LATERAL (
		SELECT q.id, CASE WHEN q.body_size <= $9 THEN q.body_size ELSE 0 END AS size
		FROM webhook_queue q
		WHERE q.bucket = l.bucket AND q.lane = l.lane AND q.` + active + `
			AND q.id < awaited.id AND q.id NOT IN (SELECT unnest($5::bigint[]))
		ORDER BY q.id LIMIT $7) AS r
	WHERE l.lane NOT IN (SELECT unnest($4::text[]))
	ORDER BY r.id LIMIT $6
), picked AS (
	SELECT id FROM (
		SELECT id, sum(size) OVER (ORDER BY id) AS bytes, row_number() OVER (ORDER BY id) AS n FROM heads
	) AS h WHERE bytes <= $8 OR n = 1
)
SELECT q.id, q.attempts + 1, q.bucket, h.epoch, q.body_size, q.key_id,
	q.sluice_id, q.source, COALESCE(q.delivery_id, ''), COALESCE(q.event_name, ''), q.lane,
	COALESCE(q.verified, ''), q.received_at, q.headers,
	CASE WHEN q.body_size <= $9 THEN q.body END, q.body IS NULL
FROM picked p JOIN webhook_queue q ON q.id = p.id JOIN held h ON h.bucket = q.bucket`

// Claim reads rows of the leased buckets, lowest id first within a lane, and
// returns them sorted by id. The lease is the claim: nothing is written, and rows
// that the caller forgets are read again. A row that is awaited is not returned,
// nor anything behind it in its lane.
func (s *Store) Claim(ctx context.Context, leases []Lease, f ClaimFilter) ([]Row, error) {
	var in []int16
	var epochs []int64
	until := make(map[int]time.Time, len(leases))
	for _, l := range leases {
		if time.Now().Before(l.Until) {
			in, epochs = append(in, int16(l.Bucket)), append(epochs, l.Epoch)
			until[l.Bucket] = l.Until
		}
	}
	if len(in) == 0 {
		return nil, nil
	}
	skip := make([]string, len(f.SkipLanes))
	for i, lane := range f.SkipLanes {
		skip[i], _ = laneKey(lane)
	}
	inHand := append(make([]int64, 0, len(f.InHand)), f.InHand...) // NULL would match nothing
	var out []Row
	err := s.do(ctx, s.pool, queryTimeout, "claim rows", func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, claimSQL, s.planned.mode(c.Conn()), in, epochs, s.instance, skip, inHand,
			cmp.Or(f.Limit, defaultClaimRows), cmp.Or(f.PerLane, defaultClaimLane),
			cmp.Or(f.MaxBytes, defaultClaimBytes), bigBody)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, s.scanRow)
		return err
	})
	if err != nil {
		return nil, err
	}
	// An answer that took longer than the trust is another holder's to deliver.
	now := time.Now()
	out = slices.DeleteFunc(out, func(r Row) bool { return !now.Before(until[r.Bucket]) })
	slices.SortFunc(out, func(a, b Row) int { return cmp.Compare(a.QueueID, b.QueueID) })
	return out, nil
}

var (
	errNoHeaders = errors.New("row unreadable: headers are missing")
	errNoBody    = errors.New("row unreadable: body is missing")
)

func (s *Store) scanRow(row pgx.CollectableRow) (Row, error) {
	var r Row
	var id uuid.UUID
	var received pgtype.Timestamptz
	var noBody bool
	w := &r.Webhook
	err := row.Scan(&r.QueueID, &r.Attempt, &r.Bucket, &r.Epoch, &r.BodySize, &r.keyID,
		&id, &w.Source, &w.DeliveryID, &w.Event, &w.Lane,
		&w.Verified, &received, &w.Head, &w.Body, &noBody)
	if err != nil {
		return r, err
	}
	w.ID, w.ReceivedAt, w.Attempts = id.String(), received.Time.UTC(), r.Attempt-1
	switch {
	case len(w.Head) == 0:
		r.Err = errNoHeaders
	case noBody && r.BodySize > 0:
		r.Err = errNoBody
	case !s.sealer.has(r.keyID):
		r.Locked, w.Head, w.Body = hex.EncodeToString(r.keyID), nil, nil
	default:
		r.Err = s.unseal(&r, id)
	}
	return r, nil
}

// unseal decrypts what came with the row.
func (s *Store) unseal(r *Row, id uuid.UUID) error {
	var err error
	w := &r.Webhook
	if w.Head, err = s.sealer.open(r.keyID, id, headColumn, w.Head); err != nil {
		return fmt.Errorf("row unreadable: %w", err)
	}
	if r.BodySize > bigBody || r.BodySize == 0 {
		w.Body = nil
		return nil
	}
	if w.Body, err = s.sealer.open(r.keyID, id, bodyColumn, w.Body); err != nil {
		return fmt.Errorf("row unreadable: %w", err)
	}
	if len(w.Body) != r.BodySize {
		return fmt.Errorf("row unreadable: body has %d bytes, not %d", len(w.Body), r.BodySize)
	}
	return nil
}

const (
	sliceSize   = 1 << 20
	loadTimeout = 60 * time.Second
	sliceSQL    = `SELECT substring(body FROM $2 FOR $3) FROM webhook_queue WHERE id = $1`
)

// LoadBody reads a body that was too big to come with its row, in slices of
// 1 MB. When the body is not what it was, r.Err is set and returned: settle the
// row as Failed. Any other error is ErrUnavailable and leaves the row good.
func (s *Store) LoadBody(ctx context.Context, r *Row) error {
	if r.Locked != "" {
		return fmt.Errorf("load body: %w", errNoKey)
	}
	if r.Err != nil || r.Webhook.Body != nil || r.BodySize == 0 {
		return r.Err
	}
	// A body takes a connection for long: claims and settles need one, too.
	if err := s.loads.Acquire(ctx, 1); err != nil {
		return unavailable("load body", err)
	}
	defer s.loads.Release(1)
	var buf []byte
	err := s.do(ctx, s.pool, loadTimeout, "load body", func(ctx context.Context, c *pgxpool.Conn) error {
		var err error
		buf, err = readBody(ctx, c, r.QueueID, make([]byte, 0, r.BodySize+64))
		return err
	})
	if err != nil {
		return err
	}
	id, err := uuid.Parse(r.Webhook.ID)
	if err == nil {
		buf, err = s.sealer.open(r.keyID, id, bodyColumn, buf)
	}
	switch {
	case err != nil:
		r.Err = fmt.Errorf("row unreadable: %w", err)
	case len(buf) != r.BodySize:
		r.Err = fmt.Errorf("row unreadable: body has %d bytes, not %d", len(buf), r.BodySize)
	default:
		r.Webhook.Body = buf
	}
	return r.Err
}

// readBody appends to buf what the row has of its body, nothing when it is gone.
func readBody(ctx context.Context, c *pgxpool.Conn, id int64, buf []byte) ([]byte, error) {
	for {
		rows, err := c.Query(ctx, sliceSQL, id, len(buf)+1, sliceSize)
		if err != nil {
			return nil, err
		}
		n := 0
		for rows.Next() { // at most one; RawValues saves a copy of each slice
			n = len(rows.RawValues()[0])
			buf = append(buf, rows.RawValues()[0]...)
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return nil, err
		}
		if n < sliceSize {
			return buf, nil
		}
	}
}
