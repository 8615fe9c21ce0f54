package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// Target says where webhooks are posted.
type Target struct {
	Addr        string // host:port
	Connections int
	Requests    []Request // each connection sends them in turn and begins at another one
}

// Post sends over connections of its own. Any answer but a 2xx is an error:
// figures of a run with refusals would say nothing.
func Post(ctx context.Context, spec Spec, to Target) (*Result, error) {
	ctx, cancel := spec.bound(ctx)
	defer cancel()
	var senders []Sender
	for i := range to.Connections {
		p, err := dial(ctx, to, i)
		if err != nil {
			return nil, fmt.Errorf("post to %s: %w", to.Addr, err)
		}
		defer p.conn.Close()
		// Reading knows no context: a connection that hangs is closed.
		defer context.AfterFunc(ctx, func() { p.conn.Close() })()
		senders = append(senders, p)
	}
	result, err := Run(ctx, spec, senders)
	if err != nil {
		return nil, fmt.Errorf("post to %s: %w", to.Addr, err)
	}
	return result, nil
}

// poster is one connection.
type poster struct {
	conn     net.Conn
	reader   *bufio.Reader
	requests []Request // its own copies: each send changes the delivery id
	next     int
}

func dial(ctx context.Context, to Target, number int) (*poster, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", to.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	p := &poster{conn: conn, reader: bufio.NewReaderSize(conn, 4096), next: number}
	for _, request := range to.Requests {
		p.requests = append(p.requests, request.clone())
	}
	return p, nil
}

// Send posts one webhook and reads its answer.
func (p *poster) Send(context.Context) error {
	request := &p.requests[p.next%len(p.requests)]
	p.next++
	request.renew()
	if _, err := p.conn.Write(request.bytes); err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	return p.readAnswer()
}

// readAnswer reads one answer to its end. It wants a 2xx with a Content-Length.
func (p *poster) readAnswer() error {
	line, err := p.reader.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if len(line) < len("HTTP/1.1 200") || line[len("HTTP/1.1 ")] != '2' {
		return fmt.Errorf("answered %q", bytes.TrimSpace(line))
	}
	length := -1
	for {
		if line, err = p.reader.ReadSlice('\n'); err != nil {
			return fmt.Errorf("read answer's head: %w", err)
		}
		if len(line) <= 2 {
			break
		}
		const name = "content-length:"
		if len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(name):]))); err != nil {
				return fmt.Errorf("read answer's length: %w", err)
			}
		}
	}
	if length < 0 {
		return errors.New("answer has no Content-Length")
	}
	if _, err := p.reader.Discard(length); err != nil {
		return fmt.Errorf("read answer's body: %w", err)
	}
	return nil
}
