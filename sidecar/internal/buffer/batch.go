package buffer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

const insertBatchSQL = `
INSERT INTO webhook_queue AS q (sluice_id, source, delivery_id, event_name, lane, bucket,
	headers, body, body_size, key_id, verified, received_at, dedupe_key, dup_count, attempts,
	status, claimed_at, awaited_by)
SELECT w.sluice_id, w.source, NULLIF(w.delivery_id, ''), NULLIF(w.event_name, ''), w.lane, w.bucket,
	w.headers, w.body, w.body_size, $16::bytea, NULLIF(w.verified, ''), w.received_at, w.dedupe_key, w.dup_count, w.attempts,
	CASE WHEN w.awaited THEN 'processing' ELSE 'pending' END,
	CASE WHEN w.awaited THEN clock_timestamp() END,
	CASE WHEN w.awaited THEN $17::uuid END
FROM (SELECT unnest($1::uuid[]) AS sluice_id, unnest($2::text[]) AS source, unnest($3::text[]) AS delivery_id,
	unnest($4::text[]) AS event_name, unnest($5::text[]) AS lane, unnest($6::smallint[]) AS bucket,
	unnest($7::bytea[]) AS headers, unnest($8::bytea[]) AS body, unnest($9::bigint[]) AS body_size,
	unnest($10::text[]) AS verified, unnest($11::timestamptz[]) AS received_at, unnest($12::bytea[]) AS dedupe_key,
	unnest($13::int[]) AS dup_count, unnest($14::int[]) AS attempts,
	unnest($15::boolean[]) AS awaited) AS w`

// With ON CONFLICT the server looks each key up before it inserts the row, where
// it looks again: an eighth of what a row costs it. Almost all rows are new, so
// that is left out until a copy of an active row is met.
const (
	newBatchSQL = insertBatchSQL + returning
	anyBatchSQL = insertBatchSQL + onConflict
)

// copies remembers whether copies of active rows are to be expected.
type copies struct{ until atomic.Int64 } // UnixNano

// expectCopies is long enough that somebody who goes on sending copies costs
// little: in so much time one batch is written twice, or as many as were under
// way when the first copy was met.
const expectCopies = 10 * time.Second

func (c *copies) expect()        { c.until.Store(time.Now().Add(expectCopies).UnixNano()) }
func (c *copies) expected() bool { return time.Now().UnixNano() < c.until.Load() }

// metCopy reports whether an insert failed, and its batch with it, because there
// is an active row with the key of one of its own.
func metCopy(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505" && pg.ConstraintName == "webhook_queue_dedupe"
}

// columns writes the parameters of insertBatchSQL but the last two.
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
	a.column(pgtype.Int4OID, func(i int) { a.int4(batch[i].attempts()) })
	a.column(pgtype.BoolOID, func(i int) { a.bool(batch[i].awaited) })
}

// insertBatch writes a batch without two equal keys in one statement, which is
// its own transaction. Ids rise in the order of the batch.
func (s *Store) insertBatch(ctx context.Context, conn *pgxpool.Conn, batch []*entry) ([]stored, error) {
	a := newArrays(len(batch))
	defer a.release()
	a.columns(batch)
	params := append(a.params(), batch[0].seal, s.instance[:])
	sql := newBatchSQL
	if s.copies.expected() {
		sql = anyBatchSQL
	}
	result, err := s.planned.exec(ctx, conn.Conn(), sql, params)
	if metCopy(err) {
		s.copies.expect()
		result, err = s.planned.exec(ctx, conn.Conn(), anyBatchSQL, params)
	}
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
