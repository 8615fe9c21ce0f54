package buffer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

// stored is the row that keeps an entry.
type stored struct {
	id       int64
	sluiceID uuid.UUID
}

// A conflict updates the row instead of doing nothing: without a write of its
// own the retry would not wait for the synchronous standby to have the first.
const onConflict = `
ON CONFLICT (dedupe_key) WHERE ` + active + ` DO UPDATE
SET dup_count = q.dup_count + EXCLUDED.dup_count + (q.sluice_id <> EXCLUDED.sluice_id)::int
` + returning

const returning = `
RETURNING q.id, q.sluice_id, q.dedupe_key`

const insertOneSQL = `
INSERT INTO webhook_queue AS q (sluice_id, source, delivery_id, event_name, lane, bucket,
	headers, body, body_size, key_id, verified, received_at, dedupe_key, dup_count,
	attempts, status, claimed_at, awaited_by)
VALUES ($1::uuid, $2, NULLIF($3, ''), NULLIF($4, ''), $5, $6::smallint,
	$7::bytea, $8::bytea, $9::bigint, $10::bytea, NULLIF($11, ''), $12::timestamptz, $13::bytea, $14::int,
	$15::int,
	CASE WHEN $16::uuid IS NULL THEN 'pending' ELSE 'processing' END,
	CASE WHEN $16::uuid IS NULL THEN NULL ELSE clock_timestamp() END,
	$16::uuid)` + onConflict

// insertOne writes one row below pgx's type system, which would hold a big body
// several times.
func (s *Store) insertOne(ctx context.Context, conn *pgxpool.Conn, e *entry) ([]stored, error) {
	w := e.webhook
	text := func(v string) []byte { return []byte(v) }
	var awaitedBy []byte
	if e.awaited {
		awaitedBy = text(s.instance.String())
	}
	params := [][]byte{
		text(e.id.String()), text(label(w.Source, maxLabel)), text(label(w.DeliveryID, maxLabel)),
		text(label(w.Event, maxLabel)), text(e.lane), text(strconv.Itoa(int(e.bucket))),
		notNull(e.head), notNull(e.body), text(strconv.Itoa(len(w.Body))), e.seal,
		text(label(w.Verified, maxLabel)), text(w.ReceivedAt.UTC().Format(time.RFC3339Nano)),
		e.key[:], text(strconv.Itoa(len(e.copies))), text(strconv.Itoa(e.attempts())), awaitedBy,
	}
	formats := make([]int16, len(params))
	formats[6], formats[7], formats[9], formats[12] = 1, 1, 1, 1 // bytea: binary
	result := conn.Conn().PgConn().ExecParams(ctx, insertOneSQL, params, nil, formats, nil).Read()
	if result.Err != nil {
		return nil, result.Err
	}
	if len(result.Rows) != 1 {
		return nil, errors.New("insert returned no row")
	}
	var row stored
	var err error
	if row.id, err = strconv.ParseInt(string(result.Rows[0][0]), 10, 64); err != nil {
		return nil, fmt.Errorf("read queue id: %w", err)
	}
	if row.sluiceID, err = uuid.ParseBytes(result.Rows[0][1]); err != nil {
		return nil, fmt.Errorf("read sluice id: %w", err)
	}
	return []stored{row}, nil
}

// notNull tells an empty value from one that is not there.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
