package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"sluice/sidecar/internal/webhook"
	"sluice/sidecar/senders"
)

// Exchange is one webhook on its way to the app, and the answer. Only one goroutine
// may use it at a time. Close ends it.
type Exchange struct {
	client  *Client
	conn    *conn
	interim interim
	resp    Response
	body    io.Reader // &timed, nil for none
	timed   timed
	exact   exactBody // what timed reads when the length is known
	reuse   bool      // the connection may be reused once the body is read
	ended   bool
}

// heads are buffers for a request's head, and its body when it is small.
var heads = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

const small = 16 << 10 // bodies up to this are written together with their head

// Send writes the webhook to the app and returns without waiting for an answer.
// attempt counts from 1. The deadline bounds the writing. A request that could not
// be written whole gives ErrReset; ErrDial means that nothing was sent.
func (c *Client) Send(w *webhook.Webhook, attempt int, replayed bool, deadline time.Time) (*Exchange, error) {
	k, err := c.get(deadline)
	if err != nil {
		return nil, err
	}
	pooled := heads.Get().(*[]byte)
	defer heads.Put(pooled)
	b := c.appendHead((*pooled)[:0], w, attempt, replayed)
	if len(w.Body) <= small {
		b = append(b, w.Body...)
		_, err = k.net.Write(b)
	} else {
		bufs := net.Buffers{b, w.Body}
		_, err = bufs.WriteTo(k.net)
	}
	*pooled = b[:0]
	if err != nil {
		// An app may answer without reading the whole body (413, for example) and
		// close the connection: its answer is still read. Await then fails if the
		// app is gone.
		if k.br.Buffered() == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			c.drop(k)
			return nil, fmt.Errorf("%w: request not taken in time", ErrReset)
		}
		k.limitRead(earlier(deadline, time.Now().Add(time.Second)))
	}
	return &Exchange{client: c, conn: k}, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (c *Client) appendHead(b []byte, w *webhook.Webhook, attempt int, replayed bool) []byte {
	b = append(b, w.Head...)
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(w.Body)), 10)
	b = append(b, "\r\nSluice-Id: "...)
	b = append(b, w.ID...)
	b = append(b, "\r\nSluice-Received-At: "...)
	from := len(b)
	b = w.ReceivedAt.UTC().AppendFormat(b, time.RFC3339Nano)
	received := len(b)
	b = append(b, "\r\nSluice-Attempt: "...)
	number := len(b)
	b = strconv.AppendInt(b, int64(attempt), 10)
	numbered := len(b)
	b = append(b, "\r\nSluice-Replayed: "...)
	b = strconv.AppendBool(b, replayed)
	if w.Verified != "" {
		b = append(b, "\r\nSluice-Verified: "...)
		b = append(b, w.Verified...)
	}
	b = append(b, "\r\nSluice-Route: "...)
	b = append(b, w.Source...)
	if c.cfg.Secret != "" {
		way := senders.RouteStamp{ID: w.ID, Route: w.Source, Method: w.Head.Method(), Target: w.Head.URI()}
		b = append(b, "\r\nSluice-Route-Signature: "...)
		b = append(b, way.Sign(c.cfg.Secret)...)
		stamp := senders.Stamp{
			ID: w.ID, Attempt: string(b[number:numbered]), ReceivedAt: string(b[from:received]), Verified: w.Verified,
		}
		b = append(b, "\r\nSluice-Signature: "...)
		b = append(b, stamp.Sign(c.cfg.Secret, w.Body)...)
	}
	return append(b, "\r\n\r\n"...)
}

// Await waits for the app's answer until the deadline. ErrLate means that there is
// none yet and that Await may be called again; after any other error the exchange
// is closed. Interim (1xx) responses are skipped.
func (e *Exchange) Await(deadline time.Time) (*Response, error) {
	e.conn.limit(deadline)
	// The deadline applies up to the status line. Then the app has begun to answer,
	// and the rest gets its own time limit, whatever the sender's budget.
	if err := e.interim.pass(e.conn.br); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, ErrLate
		}
		e.Close()
		return nil, fmt.Errorf("%w: %w", ErrReset, err)
	}
	if head, _ := e.conn.br.Peek(e.conn.br.Buffered()); !bytes.Contains(head, []byte("\r\n\r\n")) {
		e.conn.limitRead(time.Now().Add(answerTimeout))
	}
	if err := e.readHead(); err != nil {
		e.reuse = false // the rest of this answer must not be read as the next one
		e.Close()
		return nil, fmt.Errorf("%w: read answer: %w", ErrReset, err)
	}
	return &e.resp, nil
}

// answerTimeout bounds each read of an answer that has begun.
const answerTimeout = 30 * time.Second

// Close ends the exchange. The connection is reused when the answer was read to its
// end, and closed otherwise.
func (e *Exchange) Close() {
	if e.ended {
		return
	}
	e.ended = true
	if e.reuse && e.drained() {
		e.client.put(e.conn)
		return
	}
	e.client.drop(e.conn)
}

// Drop ends an exchange whose answer is not needed. It does not wait for the rest of
// it: the connection is reused only when all of it has already arrived.
func (e *Exchange) Drop() {
	e.timed.limit = 0
	e.Close()
}

// drained reads a small rest of the answer's body, and reports whether all of it has
// been read.
func (e *Exchange) drained() bool {
	if e.body == nil || e.resp.Length > 0 && e.exact.left == 0 {
		return true
	}
	n, err := io.CopyN(io.Discard, e.body, 64<<10)
	return n < 64<<10 && err == io.EOF
}
