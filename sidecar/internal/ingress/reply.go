package ingress

import (
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/senders"
)

const stopped = lifecycle.Stopped

// reply is the answer to a webhook, not yet written.
type reply struct {
	status   int
	id       string // Sluice-Id, "" when none was given
	fields   []byte // lines ended by CRLF
	body     []byte
	exchange *upstream.Exchange // the app's answer, whose body is relayed; nil for our own
	length   int64              // of that body, -1 when unknown
	done     func()             // called when the reply is written, nil for none
}

// end gives back what the reply held. The caller calls it once.
func (r *reply) end() {
	if r.exchange != nil {
		r.exchange.Close()
	}
	if r.done != nil {
		r.done()
	}
}

func textReply(status int, line string) reply {
	return reply{status: status, fields: []byte("Content-Type: text/plain; charset=utf-8\r\n"), body: []byte(line + "\n")}
}

func retryLater(why string) reply {
	r := textReply(http.StatusServiceUnavailable, why+"; try again")
	r.fields = append(r.fields, "Retry-After: 5\r\n"...)
	return r
}

// They are only read.
var (
	heldFields     = []byte("Sluice-Status: held\r\n")
	heldJSONFields = []byte("Sluice-Status: held\r\nContent-Type: application/json\r\n")
)

func heldReply(status int, id string) reply {
	r := reply{status: status, id: id, fields: heldFields}
	if status != http.StatusNoContent {
		r.fields = heldJSONFields
		r.body = append(make([]byte, 0, 64), `{"status":"held","id":"`...)
		r.body = append(append(r.body, id...), `"}`...)
	}
	return r
}

func answerReply(a senders.Answer) reply {
	r := reply{status: a.Status, body: a.Body}
	add := func(name, value string) {
		if value != "" && !strings.ContainsAny(value, "\r\n\x00") {
			r.fields = append(r.fields, name+": "+value+"\r\n"...)
		}
	}
	add("Content-Type", a.ContentType)
	for name, value := range a.Header {
		add(name, value)
	}
	return r
}

var crlf = []byte("\r\n")

const writeTimeout = 30 * time.Second // for each write to the sender

// writeTo writes the reply to a plain HTTP/1.1 connection.
func (r *reply) writeTo(nc net.Conn, closing bool) error {
	pooled := replies.Get().(*[]byte)
	defer replies.Put(pooled)
	now := time.Now()
	b := append((*pooled)[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(r.status)...)
	b = append(b, "\r\n"...)
	b = append(b, r.fields...)
	if r.id != "" {
		b = append(append(append(b, "Sluice-Id: "...), r.id...), "\r\n"...)
	}
	if closing {
		b = append(b, "Connection: close\r\n"...)
	}
	length := r.length
	if r.exchange == nil {
		length = int64(len(r.body))
		b = appendDate(b, now)
	}
	switch {
	case r.status == http.StatusNoContent || r.status == http.StatusNotModified:
	case length >= 0:
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), length, 10), "\r\n"...)
	default:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	b = append(b, "\r\n"...)
	nc.SetWriteDeadline(now.Add(writeTimeout))
	defer func() { *pooled = b[:0] }()
	if r.exchange == nil {
		b = append(b, r.body...)
		_, err := nc.Write(b)
		return err
	}
	if length < 0 {
		return r.writeChunked(nc, b)
	}
	// A short body goes out in one write with its head.
	if n := int(min(length, 16<<10)); n > 0 {
		at := len(b)
		b = slices.Grow(b, n)[:at+n]
		if _, err := io.ReadFull(r.exchange.Body(), b[at:]); err != nil {
			return err
		}
	}
	if _, err := nc.Write(b); err != nil || length <= 16<<10 {
		return err
	}
	return relay(nc, nc, r.exchange.Body())
}

func (r *reply) writeChunked(nc net.Conn, head []byte) error {
	if _, err := nc.Write(head); err != nil {
		return err
	}
	w := httputil.NewChunkedWriter(nc)
	if err := relay(nc, w, r.exchange.Body()); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_, err := nc.Write(crlf)
	return err
}

// relay copies with a time limit for each write.
func relay(nc net.Conn, w io.Writer, body io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			nc.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

var replies = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// writeHTTP writes the reply through net/http.
func (r *reply) writeHTTP(w http.ResponseWriter) {
	h := w.Header()
	for fields := string(r.fields); fields != ""; {
		var line string
		line, fields, _ = strings.Cut(fields, "\r\n")
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, strings.TrimSpace(value))
	}
	if r.id != "" {
		h.Set("Sluice-Id", r.id)
	}
	if r.exchange == nil {
		if r.status != http.StatusNoContent {
			h.Set("Content-Length", strconv.Itoa(len(r.body)))
		}
		w.WriteHeader(r.status)
		w.Write(r.body)
		return
	}
	if r.length >= 0 && r.status != http.StatusNoContent && r.status != http.StatusNotModified {
		h.Set("Content-Length", strconv.FormatInt(r.length, 10))
	}
	w.WriteHeader(r.status)
	if _, err := io.Copy(w, r.exchange.Body()); err != nil {
		// The head is out: only a broken connection tells the sender.
		panic(http.ErrAbortHandler)
	}
}

// pause waits without anybody to interrupt it; what calls it is bounded.
func pause(d time.Duration) { <-time.After(d) }
