package buffer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
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
RETURNING q.id, q.sluice_id, q.dedupe_key`

const insertBatchSQL = `
INSERT INTO webhook_queue AS q (sluice_id, source, delivery_id, event_name, lane, bucket,
	headers, body, body_size, key_id, verified, received_at, dedupe_key, dup_count, attempts)
SELECT w.sluice_id, w.source, NULLIF(w.delivery_id, ''), NULLIF(w.event_name, ''), w.lane, w.bucket,
	w.headers, w.body, w.body_size, $15::bytea, NULLIF(w.verified, ''), w.received_at, w.dedupe_key, w.dup_count, w.attempts
FROM (SELECT unnest($1::uuid[]) AS sluice_id, unnest($2::text[]) AS source, unnest($3::text[]) AS delivery_id,
	unnest($4::text[]) AS event_name, unnest($5::text[]) AS lane, unnest($6::smallint[]) AS bucket,
	unnest($7::bytea[]) AS headers, unnest($8::bytea[]) AS body, unnest($9::bigint[]) AS body_size,
	unnest($10::text[]) AS verified, unnest($11::timestamptz[]) AS received_at, unnest($12::bytea[]) AS dedupe_key,
	unnest($13::int[]) AS dup_count, unnest($14::int[]) AS attempts) AS w` + onConflict

// columns writes the parameters of insertBatchSQL but the last.
func (a *arrays) columns(batch []*entry) {
	a.column(pgtype.UUIDOID, func(i int) { a.data(batch[i].id[:]) })
	a.column(pgtype.TextOID, func(i int) { a.text(label(batch[i].webhook.Source, maxLabel)) })
	a.column(pgtype.TextOID, func(i int) { a.text(label(batch[i].webhook.DeliveryID, maxLabel)) })
	a.column(pgtype.TextOID, func(i int) { a.text(label(batch[i].webhook.Event, maxLabel)) })
	a.column(pgtype.TextOID, func(i int) { a.text(batch[i].lane) })
	a.column(pgtype.Int2OID, func(i int) { a.int2(batch[i].bucket) })
	a.column(pgtype.ByteaOID, func(i int) { a.data(batch[i].head) })
	a.column(pgtype.ByteaOID, func(i int) { a.data(batch[i].body) })
	a.column(pgtype.Int8OID, func(i int) { a.int8(len(batch[i].webhook.Body)) })
	a.column(pgtype.TextOID, func(i int) { a.text(label(batch[i].webhook.Verified, maxLabel)) })
	a.column(pgtype.TimestamptzOID, func(i int) { a.time(batch[i].webhook.ReceivedAt) })
	a.column(pgtype.ByteaOID, func(i int) { a.data(batch[i].key[:]) })
	a.column(pgtype.Int4OID, func(i int) { a.int4(len(batch[i].copies)) })
	a.column(pgtype.Int4OID, func(i int) { a.int4(batch[i].webhook.Attempts) })
}

// insertBatch writes a batch without two equal keys in one statement, which is
// its own transaction. Ids rise in the order of the batch.
func (s *Store) insertBatch(ctx context.Context, conn *pgxpool.Conn, batch []*entry) ([]stored, error) {
	a := newArrays(len(batch))
	defer a.release()
	a.columns(batch)
	result, err := s.planned.exec(ctx, conn.Conn(), insertBatchSQL, append(a.params(), batch[0].seal))
	if err != nil {
		return nil, err
	}
	out := make([]stored, len(batch))
	for i, e := range batch {
		row := rowOf(result, i, e.key[:])
		if row == nil {
			return nil, fmt.Errorf("insert returned no row for %s", e.id)
		}
		out[i].id = int64(binary.BigEndian.Uint64(row[0]))
		copy(out[i].sluiceID[:], row[1])
	}
	return out, nil
}

// rowOf finds the row with key, most likely the i-th: they come in the order of
// the batch, though nobody promises it.
func rowOf(rows [][][]byte, i int, key []byte) [][]byte {
	if i < len(rows) && bytes.Equal(rows[i][2], key) {
		return rows[i]
	}
	for _, row := range rows {
		if bytes.Equal(row[2], key) {
			return row
		}
	}
	return nil
}

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
	attempts := w.Attempts
	if e.awaited {
		awaitedBy, attempts = text(s.instance.String()), max(attempts, 1)
	}
	params := [][]byte{
		text(e.id.String()), text(label(w.Source, maxLabel)), text(label(w.DeliveryID, maxLabel)),
		text(label(w.Event, maxLabel)), text(e.lane), text(strconv.Itoa(int(e.bucket))),
		notNull(e.head), notNull(e.body), text(strconv.Itoa(len(w.Body))), e.seal,
		text(label(w.Verified, maxLabel)), text(w.ReceivedAt.UTC().Format(time.RFC3339Nano)),
		e.key[:], text(strconv.Itoa(len(e.copies))), text(strconv.Itoa(attempts)), awaitedBy,
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
