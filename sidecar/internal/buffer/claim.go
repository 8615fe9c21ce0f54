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

	walkRows    = 256  // rows that a claim looks at, at the least, and
	walkSkipped = 1024 // so many lanes to be skipped beside them, at the most
)

// Claim reads rows of the leased buckets, lowest id first within a lane, and
// returns them sorted by id. The lease is the claim: nothing is written, and rows
// that the caller forgets are read again, though where there are very many lanes
// not by the next claim: see claimSQL. more says that there are lanes which this
// claim has not looked at, so another one may find rows in them. A row that is
// awaited is not returned, nor anything behind it in its lane.
func (s *Store) Claim(ctx context.Context, leases []Lease, f ClaimFilter) (rows []Row, more bool, err error) {
	leases = slices.DeleteFunc(slices.Clone(leases), func(l Lease) bool { return !time.Now().Before(l.Until) })
	if len(leases) == 0 {
		return nil, false, nil
	}
	skip := make([]string, len(f.SkipLanes))
	for i, lane := range f.SkipLanes {
		skip[i], _ = laneKey(lane)
	}
	inHand := append(make([]int64, 0, len(f.InHand)), f.InHand...) // NULL would match nothing
	limit := cmp.Or(f.Limit, defaultClaimRows)
	length := max(limit, walkRows) + min(len(skip), walkSkipped)
	in, epochs, after := s.walk.plan(leases)
	var at step
	err = s.do(ctx, s.pool, queryTimeout, "claim rows", func(ctx context.Context, c *pgxpool.Conn) error {
		answer, err := c.Query(ctx, claimSQL, s.planned.mode(c.Conn()), in, epochs, after, s.instance, skip, inHand,
			limit, cmp.Or(f.PerLane, defaultClaimLane), cmp.Or(f.MaxBytes, defaultClaimBytes), length, bigBody)
		if err != nil {
			return err
		}
		rows, at, err = s.scanClaim(answer)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	s.walk.goOn(in, epochs, at)
	// An answer that took longer than the trust is another holder's to deliver.
	now := time.Now()
	until := make(map[int]time.Time, len(leases))
	for _, l := range leases {
		until[l.Bucket] = l.Until
	}
	rows = slices.DeleteFunc(rows, func(r Row) bool { return !now.Before(until[r.Bucket]) })
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.QueueID, b.QueueID) })
	return rows, !at.whole, nil
}

// scanClaim reads the answer to a claim. It has one row at least, whose first
// fields tell of the walk.
func (s *Store) scanClaim(answer pgx.Rows) (out []Row, at step, err error) {
	defer answer.Close()
	for first := true; answer.Next(); first = false {
		var r Row
		var f fields
		told := []any{nil, nil, nil, nil, nil}
		if first {
			told = []any{&at.whole, &at.cut, &at.last, &at.buckets, &at.lanes}
			if answer.RawValues()[len(told)] == nil { // no row to deliver
				return nil, at, scanSome(answer, told)
			}
		}
		if err := answer.Scan(append(told, f.into(&r)...)...); err != nil {
			return nil, at, err
		}
		s.read(&r, &f)
		out = append(out, r)
	}
	return out, at, answer.Err()
}

// scanSome scans the first fields.
func scanSome(answer pgx.Rows, into []any) error {
	into = append(into, make([]any, len(answer.RawValues())-len(into))...)
	if err := answer.Scan(into...); err != nil {
		return err
	}
	answer.Close()
	return answer.Err()
}

var (
	errNoHeaders = errors.New("row unreadable: headers are missing")
	errNoBody    = errors.New("row unreadable: body is missing")
)

// fields are those of a row that are not scanned into it as they are.
type fields struct {
	id       uuid.UUID
	received pgtype.Timestamptz
	noBody   bool
}

func (f *fields) into(r *Row) []any {
	w := &r.Webhook
	return []any{&r.QueueID, &r.Attempt, &r.Bucket, &r.Epoch, &r.BodySize, &r.keyID,
		&f.id, &w.Source, &w.DeliveryID, &w.Event, &w.Lane,
		&w.Verified, &f.received, &w.Head, &w.Body, &f.noBody}
}

// read makes of what was scanned what can be delivered.
func (s *Store) read(r *Row, f *fields) {
	w := &r.Webhook
	w.ID, w.ReceivedAt, w.Attempts = f.id.String(), f.received.Time.UTC(), r.Attempt-1
	switch {
	case len(w.Head) == 0:
		r.Err = errNoHeaders
	case f.noBody && r.BodySize > 0:
		r.Err = errNoBody
	case !s.sealer.has(r.keyID):
		r.Locked, w.Head, w.Body = hex.EncodeToString(r.keyID), nil, nil
	default:
		r.Err = s.unseal(r, f.id)
	}
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
