package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/infra/testkit"
)

// hold posts numbered webhooks on lanes side by side, all of which must be held.
func hold(t *testing.T, s *sidecar, lanes, each int) *ledger {
	t.Helper()
	l := newLedger()
	var sending sync.WaitGroup
	for i := range lanes {
		sending.Go(func() { l.send(s, "/hooks/x", fmt.Sprint("lane", i), upTo(each)) })
	}
	sending.Wait()
	if l.held != lanes*each {
		t.Fatalf("%d held, want %d (%v)", l.held, lanes*each, l.odd)
	}
	return l
}

// The operators' two statements, again and again during a replay.
func TestRunbookStatementsDuringReplay(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a)
	a.stop()
	const lanes, each = 20, 100
	l := hold(t, s, lanes, each)
	var reset, looked atomic.Int64
	const resets, looks = 50, 5 // fewer would prove nothing
	a.does(func(http.ResponseWriter, *http.Request, delivery) int {
		<-time.After(2 * time.Millisecond)
		if reset.Load() < resets || looked.Load() < looks {
			<-time.After(20 * time.Millisecond)
		}
		return 200
	})
	a.start()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var operators sync.WaitGroup
	operators.Go(func() {
		for ctx.Err() == nil {
			// A release before this one marks as processing what it has claimed.
			const claimed = `UPDATE webhook_queue SET status = 'processing', claim_epoch = 1 WHERE id IN
				(SELECT id FROM webhook_queue WHERE status = 'pending' AND id % 7 = 0 ORDER BY id LIMIT 10 FOR UPDATE SKIP LOCKED)`
			if _, err := db.pool.Exec(context.Background(), claimed); err != nil {
				t.Errorf("the older release's claim failed: %v", err)
				return
			}
			tag, err := db.pool.Exec(context.Background(), `UPDATE webhook_queue SET status = 'pending' WHERE status = 'processing'`)
			if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == "40P01" {
				continue // a deadlock with a batch of the sidecar: try again
			}
			if err != nil {
				t.Errorf("the operator's UPDATE failed: %v", err)
				return
			}
			reset.Add(tag.RowsAffected())
			<-time.After(5 * time.Millisecond)
		}
	})
	operators.Go(func() {
		for ctx.Err() == nil {
			if tag, err := db.pool.Exec(context.Background(), `SELECT id, source, status, queued_at FROM webhook_queue`); err != nil || tag.RowsAffected() != lanes*each {
				t.Errorf("the operator's SELECT gave %d rows: %v", tag.RowsAffected(), err)
				return
			}
			looked.Add(1)
			<-time.After(20 * time.Millisecond)
		}
	})
	duplicates := l.check(t, a)
	testkit.Eventually(t, "all are completed", func() bool { return db.count("completed") == lanes*each })
	cancel()
	operators.Wait()
	if duplicates > 0 {
		t.Errorf("%d came twice", duplicates)
	}
	if reset.Load() < resets || looked.Load() < looks {
		t.Errorf("%d rows set back, %d looks: the test proves nothing", reset.Load(), looked.Load())
	}
	t.Logf("%d rows set back, %d looks", reset.Load(), looked.Load())
	s.waitState("passing")
}

// A row that cannot be sent is failed with its reason, and its lane goes on.
func TestBadRows(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a)
	a.stop()
	s.mustHold("/hooks/first", "{}")
	large := strings.Repeat("x", 600<<10)
	harm := []struct{ sql, reason string }{
		{`headers = '\xdeadbeef00ff'`, "head"},
		{`headers = NULL`, "headers are missing"},
		{`headers = ''`, "headers are missing"},
		{`headers = 'POST /hooks/x HTTP/1.1' || E'\r\n'::bytea || 'Host: h'`, "cut off"},
		{`headers = convert_to(E'POST /hooks/x HTTP/1.1\r\nHost: h\r\n\r\nGET /admin HTTP/1.1\r\n', 'UTF8')`, "field"},
		{`headers = headers || convert_to(E'Content-Length: 1\r\n', 'UTF8')`, "Content-Length"},
		{`headers = headers || convert_to(E'Transfer-Encoding: chunked\r\n', 'UTF8')`, "Transfer-Encoding"},
		{`headers = headers || convert_to(E'Sluice-Id: forged\r\n', 'UTF8')`, "Sluice-Id"},
		{`headers = headers || convert_to(E'X-Bad: a\nX: b\r\n', 'UTF8')`, "cut off"},
		{`body = NULL`, "body is missing"},
		{`body = substring(body FOR 3)`, "3 bytes"},
		{`body = body || 'x'`, "bytes"},
		{`body_size = body_size + 1`, "bytes"},
		{`body = NULL /* large */`, "body"},
		{`body = substring(body FOR 1000) /* large */`, "1000 bytes"},
	}
	for i, h := range harm {
		body := numbered("bad", 2*i)
		if strings.Contains(h.sql, "large") {
			body = strings.TrimSuffix(body, "}") + `,"pad":"` + large + `"}`
		}
		s.mustHold("/hooks/x", body, "X-Delivery-Id", fmt.Sprint("bad", i))
		s.mustHold("/hooks/x", numbered("bad", 2*i+1))
		if n := db.exec(t, `UPDATE webhook_queue SET `+h.sql+` WHERE delivery_id = $1`, fmt.Sprint("bad", i)); n != 1 {
			t.Fatalf("%s: %d rows", h.sql, n)
		}
	}
	a.start()
	testkit.Eventually(t, "the queue is empty", func() bool { return db.active() == 0 })
	for i, h := range harm {
		got := db.texts(t, `SELECT status || ': ' || COALESCE(last_error, '') FROM webhook_queue WHERE delivery_id = $1`, fmt.Sprint("bad", i))
		if len(got) != 1 || !strings.HasPrefix(got[0], "failed: ") || !strings.Contains(got[0], h.reason) {
			t.Errorf("%s: row is %q, want failed with a reason about %q", h.sql, got, h.reason)
		}
	}
	next := 1
	for _, d := range a.deliveries() {
		if d.uri == "/hooks/first" {
			continue
		}
		if _, n := d.number(); n != next {
			t.Errorf("got webhook %d of the lane (%s), want %d", n, d.uri, next)
		}
		next += 2
	}
	if next != 2*len(harm)+1 {
		t.Errorf("the lane went on to %d, want %d", next, 2*len(harm)+1)
	}
	s.waitState("passing")
	s.mustPass("/hooks/x", numbered("bad", 1000))
	if n := len(s.WaitRecords(len(harm), "Webhook given up, kept as failed for the operator")); n != len(harm) {
		t.Errorf("%d failed rows were logged, want %d", n, len(harm))
	}
	testkit.Eventually(t, "status counts the failed", func() bool { return s.status().Failed == int64(len(harm)) })
}
