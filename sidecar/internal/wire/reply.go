package wire

import (
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Reply is the answer to a request that was read whole.
type Reply struct {
	Status int
	Fields []byte // header lines, each ended by CRLF, without Content-Length; never modified
	Body   []byte
	Relay  io.Reader // a body to stream, in place of Body
	Length int64     // of Relay, -1 when unknown
	End    func()    // called once the reply is written or has failed; may be nil
}

func (r *Reply) end() {
	if r.End != nil {
		r.End()
	}
}

var plainText = []byte("Content-Type: text/plain; charset=utf-8\r\n")

// Text returns a reply of one line.
func Text(status int, line string) Reply {
	return Reply{Status: status, Fields: plainText, Body: append([]byte(line), '\n')}
}

var plainTextLater = []byte("Content-Type: text/plain; charset=utf-8\r\nRetry-After: 5\r\n")

// RetryLater returns a 503 with Retry-After that says why.
func RetryLater(why string) Reply {
	r := Text(http.StatusServiceUnavailable, why+"; try again")
	r.Fields = plainTextLater
	return r
}

const (
	writeTimeout = 30 * time.Second // for each write to the sender
	shortBody    = 16 << 10         // bytes; a body up to this is written together with its head
)

var replies = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// writeTo writes the reply to a plain HTTP/1.1 connection. The caller has set a
// deadline for the first write.
func (r *Reply) writeTo(nc net.Conn, closing bool, now time.Time) error {
	pooled := replies.Get().(*[]byte)
	defer replies.Put(pooled)
	b := r.appendHead((*pooled)[:0], now, closing)
	defer func() { *pooled = b[:0] }()
	if r.Relay == nil {
		b = append(b, r.Body...)
		_, err := nc.Write(b)
		return err
	}
	if r.Length < 0 {
		return r.writeChunked(nc, b)
	}
	if n := int(min(r.Length, shortBody)); n > 0 {
		at := len(b)
		b = slices.Grow(b, n)[:at+n]
		if _, err := io.ReadFull(r.Relay, b[at:]); err != nil {
			return err
		}
	}
	if _, err := nc.Write(b); err != nil || r.Length <= shortBody {
		return err
	}
	return relay(nc, nc, r.Relay)
}

func (r *Reply) appendHead(b []byte, now time.Time, closing bool) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(r.Status)...)
	b = append(b, "\r\n"...)
	b = append(b, r.Fields...)
	if closing {
		b = append(b, "Connection: close\r\n"...)
	}
	length := r.Length
	if r.Relay == nil {
		length = int64(len(r.Body))
		b = appendDate(b, now)
	}
	switch {
	case r.Status == http.StatusNoContent || r.Status == http.StatusNotModified:
	case length >= 0:
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), length, 10), "\r\n"...)
	default:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	return append(b, "\r\n"...)
}

var crlf = []byte("\r\n")

func (r *Reply) writeChunked(nc net.Conn, head []byte) error {
	if _, err := nc.Write(head); err != nil {
		return err
	}
	w := httputil.NewChunkedWriter(nc)
	if err := relay(nc, w, r.Relay); err != nil {
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
