package buffer

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"sluice/infra/testkit"
)

// pgx's type system is the judge of what is written past it.
func TestArraysAsPgxWritesThem(t *testing.T) {
	batch := oddBatch(t, openOnly(t, "postgres://127.0.0.1:1/none"))
	a := newArrays(len(batch))
	defer a.release()
	a.columns(batch)
	var ids [][16]byte
	var times []time.Time
	var heads, bodies [][]byte
	var events []string
	var in []int16
	var sizes []int64
	var attempts []int32
	var awaited []bool
	for _, e := range batch {
		ids, times, in = append(ids, e.id), append(times, e.webhook.ReceivedAt), append(in, e.bucket)
		heads, bodies = append(heads, notNull(e.head)), append(bodies, notNull(e.body))
		events = append(events, label(e.webhook.Event, maxLabel))
		sizes, attempts = append(sizes, int64(len(e.webhook.Body))), append(attempts, int32(e.attempts()))
		awaited = append(awaited, e.awaited)
	}
	for column, want := range map[int]struct {
		oid   uint32
		value any
	}{
		0: {pgtype.UUIDArrayOID, ids}, 3: {pgtype.TextArrayOID, events}, 5: {pgtype.Int2ArrayOID, in},
		6: {pgtype.ByteaArrayOID, heads}, 7: {pgtype.ByteaArrayOID, bodies}, 8: {pgtype.Int8ArrayOID, sizes},
		10: {pgtype.TimestamptzArrayOID, times}, 13: {pgtype.Int4ArrayOID, attempts}, 14: {pgtype.BoolArrayOID, awaited},
	} {
		encoded, err := pgtype.NewMap().Encode(want.oid, pgtype.BinaryFormatCode, want.value, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.params()[column]; !bytes.Equal(got, encoded) {
			t.Errorf("column %d is written as %x, want %x", column+1, got, encoded)
		}
	}
}

// Whatever way a batch goes to the server, its rows are the same.
func TestBatchInEitherWay(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	for _, off := range []bool{false, true} {
		s.planned.off.Store(off)
		exec(t, db, `TRUNCATE webhook_queue`)
		batch := oddBatch(t, s)
		var rows []stored
		if err := s.pool.AcquireFunc(t.Context(), func(c *pgxpool.Conn) (err error) {
			if s.planned.safe(c.Conn()) == off {
				t.Errorf("prepared is %v", !off)
			}
			rows, err = s.insertBatch(t.Context(), c, batch)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		var want []string
		for i, e := range batch {
			w := e.webhook
			want = append(want, fmt.Sprintf("%d %s %s %q %q %s %d %x %x %d %q %s %x %d %d",
				rows[i].id, e.id, w.Source, label(w.DeliveryID, maxLabel), w.Event, e.lane, e.bucket,
				md5.Sum(e.head), md5.Sum(e.body), len(w.Body), w.Verified, w.ReceivedAt.Format("15:04:05.000000"),
				e.key, len(e.copies), e.attempts()))
			if rows[i].sluiceID != e.id {
				t.Errorf("row of %s is answered as %s", e.id, rows[i].sluiceID)
			}
		}
		got := query[string](t, db, `SELECT concat_ws(' ', id, sluice_id, source, '"' || delivery_id || '"',
			'"' || COALESCE(event_name, '') || '"', lane, bucket, md5(headers), md5(body), body_size, '"' || COALESCE(verified, '') || '"',
			to_char(received_at AT TIME ZONE 'UTC', 'HH24:MI:SS.US'), encode(dedupe_key, 'hex'), dup_count, attempts)
			FROM webhook_queue ORDER BY id`)
		if !slices.Equal(got, want) {
			t.Errorf("prepared %v: rows\n%s\nwant\n%s", !off, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if query[int](t, db, `SELECT count(*) FROM webhook_queue WHERE event_name = '' OR verified = ''`)[0] != 0 {
			t.Error("an empty name is kept as empty, not as unknown")
		}
	}
}

// oddBatch returns entries whose values differ in all that may differ.
func oddBatch(t *testing.T, s *Store) (batch []*entry) {
	t.Helper()
	for i := range 5 {
		w := hook(fmt.Sprint("lane", i), i)
		w.ReceivedAt = time.Date(2026, 11, 22, 1, 2, 3, 123456000+i*1000, time.UTC)
		w.Attempts = i % 2
		switch i {
		case 1:
			w.Event, w.Verified, w.Body = "", "", nil
		case 2:
			w.DeliveryID, w.Event = "a\x00b\xff", "naïve.événement"
		case 3:
			w.Body = bytes.Repeat([]byte{0, 0xff, '"', '{'}, 5000)
		case 4:
			w.Lane, w.Head = strings.Repeat("x", 2*maxLane), nil
		}
		e, err := s.entry(w, i%2 == 0)
		if err != nil {
			t.Fatal(err)
		}
		e.copies = make([]*entry, i%3)
		batch = append(batch, e)
	}
	return batch
}
