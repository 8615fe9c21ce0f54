package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// Target says where webhooks are posted.
type Target struct {
	Addr        string // host:port
	Connections int
	Requests    []Request // each connection sends them in turn, starting with a different one
}

// Post sends over connections of its own. Any answer but a 2xx is an
// error: figures of a run with refusals are meaningless.
func Post(ctx context.Context, spec Spec, to Target) (*Result, error) {
	ctx, cancel := spec.bound(ctx)
	defer cancel()
	result, err := post(ctx, spec, to)
	if err != nil {
		return nil, fmt.Errorf("post to %s: %w", to.Addr, err)
	}
	return result, nil
}

func dial(ctx context.Context, to Target) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// exchanges are the requests and answers of one connection.
type exchanges struct {
	requests []Request // copies: each send changes the delivery id
	next     int
	sent     time.Time
	head     []byte // of the answer, as far as received
	inBody   bool
	missing  int // bytes of the answer's body still to come
}

func newExchanges(to Target, number int) *exchanges {
	x := &exchanges{next: number}
	for _, request := range to.Requests {
		x.requests = append(x.requests, request.clone())
	}
	return x
}

// begin returns the next request, which is to be sent at once.
func (x *exchanges) begin() []byte {
	request := &x.requests[x.next%len(x.requests)]
	x.next++
	request.renew()
	x.sent = time.Now()
	return request.bytes
}

const maxHead = 16 << 10 // of an answer

// receive takes a part of the answer and reports whether the answer is complete.
func (x *exchanges) receive(b []byte) (whole bool, err error) {
	if !x.inBody {
		x.head = append(x.head, b...)
		end := bytes.Index(x.head, []byte("\r\n\r\n"))
		if end < 0 {
			if len(x.head) > maxHead {
				return false, errors.New("answer's head does not end")
			}
			return false, nil
		}
		if x.missing, err = readHead(x.head[:end]); err != nil {
			return false, err
		}
		b, x.head, x.inBody = x.head[end+len("\r\n\r\n"):], x.head[:0], true
	}
	if x.missing -= len(b); x.missing < 0 {
		return false, errors.New("more came than the answer's Content-Length")
	}
	x.inBody = x.missing > 0
	return !x.inBody, nil
}

// readHead returns the body's length. It wants a 2xx with a Content-Length.
func readHead(head []byte) (length int, err error) {
	line, fields, _ := bytes.Cut(head, []byte("\r\n"))
	if len(line) < len("HTTP/1.1 200") || line[len("HTTP/1.1 ")] != '2' {
		return 0, fmt.Errorf("answered %q", line)
	}
	const name = "content-length:"
	for len(fields) > 0 {
		line, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		if len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(name):]))); err != nil {
				return 0, fmt.Errorf("read answer's length: %w", err)
			}
			return length, nil
		}
	}
	return 0, errors.New("answer has no Content-Length")
}
