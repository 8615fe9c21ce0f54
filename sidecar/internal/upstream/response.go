package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"time"

	"sluice/sidecar/internal/request"
)

// Response is the head of the app's answer to a webhook.
type Response struct {
	Status int
	Fields []byte // header lines for the sender, each ended by CRLF, without Content-Length and what belongs to one connection
	Length int64  // of the body, -1 when unknown
	// RetryAfter is the value of that field, "" without it.
	RetryAfter string
}

const maxHead = 64 << 10 // bytes of an answer's head

var errHead = errors.New("malformed answer")

// readHead reads the head of the answer. Interim responses have been skipped.
func (e *Exchange) readHead() error {
	proto, err := e.readStatus()
	if err != nil {
		return err
	}
	if e.resp.Status == 101 {
		return fmt.Errorf("%w: 101 to a request that asked for none", errHead)
	}
	return e.readFields(proto)
}

func (e *Exchange) readStatus() (minor byte, err error) {
	line, err := readLine(e.conn.br)
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[8] != ' ' {
		return 0, fmt.Errorf("%w: bad status line", errHead)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil || status < 100 || status > 599 {
		return 0, fmt.Errorf("%w: bad status", errHead)
	}
	e.resp = Response{Status: status, Fields: e.resp.Fields[:0], Length: -1}
	if e.resp.Fields == nil {
		e.resp.Fields = make([]byte, 0, 512) // with room for the Sluice-Id
	}
	return line[7], nil
}

// readFields reads the fields up to the empty line and sets up the body.
func (e *Exchange) readFields(minor byte) error {
	r := &e.resp
	chunked, size := false, 0
	e.reuse = minor == '1'
	for {
		line, err := readLine(e.conn.br)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			break
		}
		if size += len(line); size > maxHead {
			return fmt.Errorf("%w: head above %d bytes", errHead, maxHead)
		}
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || !request.IsToken(line[:colon]) {
			return fmt.Errorf("%w: bad field", errHead)
		}
		name, value := line[:colon], bytes.TrimSpace(line[colon+1:])
		switch {
		case request.Named(name, "content-length"):
			n, err := strconv.ParseUint(string(value), 10, 63) // takes no sign
			if err != nil || r.Length >= 0 && r.Length != int64(n) {
				return fmt.Errorf("%w: bad content length", errHead)
			}
			r.Length = int64(n)
		case request.Named(name, "transfer-encoding"):
			if chunked = strings.EqualFold(string(value), "chunked"); !chunked {
				return fmt.Errorf("%w: transfer encoding %q", errHead, value)
			}
		case request.Named(name, "connection"):
			if strings.Contains(strings.ToLower(string(value)), "close") {
				e.reuse = false
			}
		case request.Named(name, "retry-after"):
			r.RetryAfter = string(value)
		}
		if !request.Stripped(name) {
			r.Fields = append(append(r.Fields, line...), '\r', '\n')
		}
	}
	e.frame(chunked)
	return nil
}

// frame sets the body's reader from what the head said (RFC 9112, 6.3).
func (e *Exchange) frame(chunked bool) {
	r := &e.resp
	switch {
	case r.Status == 204, r.Status == 304:
		e.body, r.Length = nil, 0
	case chunked:
		r.Length = -1
		e.readBody(&chunkedBody{br: e.conn.br, r: httputil.NewChunkedReader(e.conn.br)})
	case r.Length == 0:
		e.body = nil
	case r.Length > 0:
		e.exact = exactBody{r: e.conn.br, left: r.Length}
		e.readBody(&e.exact)
	default:
		e.reuse = false
		e.readBody(e.conn.br)
	}
}

func (e *Exchange) readBody(r io.Reader) {
	e.timed = timed{e, answerTimeout, r}
	e.body = &e.timed
}

// Body is the answer's body. It is valid until Close.
func (e *Exchange) Body() io.Reader {
	if e.body == nil {
		return http.NoBody
	}
	return e.body
}

// timed gives each read of a body its own time limit, so that a long answer may take
// its time but a dead app is noticed.
type timed struct {
	e     *Exchange
	limit time.Duration
	r     io.Reader
}

func (t *timed) Read(p []byte) (int, error) {
	if t.e.conn.br.Buffered() == 0 {
		t.e.conn.limitRead(time.Now().Add(t.limit))
	}
	return t.r.Read(p)
}

// exactBody is a body of known length. It is an error when the body is cut short.
type exactBody struct {
	r    *bufio.Reader
	left int64
}

func (b *exactBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err == io.EOF && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// chunkedBody also reads the trailer after the last chunk, so that the connection
// can be reused.
type chunkedBody struct {
	br   *bufio.Reader
	r    io.Reader
	done bool
}

func (b *chunkedBody) Read(p []byte) (int, error) {
	if b.done {
		return 0, io.EOF
	}
	n, err := b.r.Read(p)
	if err != io.EOF {
		return n, err
	}
	for size := 0; ; {
		line, err := readLine(b.br)
		if err != nil {
			return n, err
		}
		if size += len(line); size > maxHead {
			return n, fmt.Errorf("%w: trailer above %d bytes", errHead, maxHead)
		}
		if len(line) == 0 {
			b.done = true
			return n, io.EOF
		}
	}
}

// readLine returns the next line without its end. The line is valid until the next
// read.
func readLine(br *bufio.Reader) ([]byte, error) {
	line, err := br.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		long := bytes.Clone(line)
		for err == bufio.ErrBufferFull && len(long) <= maxHead {
			line, err = br.ReadSlice('\n')
			long = append(long, line...)
		}
		line = long
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, nil
}
