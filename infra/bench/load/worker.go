package load

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"time"
)

// worker is one connection and the goroutine that uses it.
type worker struct {
	run      *run
	conn     net.Conn
	reader   *bufio.Reader
	requests []Request // its own copies: each send changes the delivery id
	next     int
	latency  []time.Duration
	total    int
}

func newWorker(ctx context.Context, r *run, number int) (*worker, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", r.spec.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	w := &worker{
		run: r, conn: conn, reader: bufio.NewReaderSize(conn, 4096), next: number,
		latency: make([]time.Duration, 0, 1<<14),
	}
	for _, request := range r.spec.Requests {
		w.requests = append(w.requests, request.clone())
	}
	return w, nil
}

func (w *worker) loop() error {
	for {
		if phase(w.run.phase.Load()) == ending {
			return nil
		}
		if w.run.spec.Count > 0 && w.run.left.Add(-1) < 0 {
			return nil
		}
		request := &w.requests[w.next%len(w.requests)]
		w.next++
		request.renew()
		sent := time.Now()
		if _, err := w.conn.Write(request.bytes); err != nil {
			return fmt.Errorf("write request: %w", err)
		}
		if err := w.readAnswer(); err != nil {
			return err
		}
		w.total++
		if phase(w.run.phase.Load()) == measuring {
			w.latency = append(w.latency, time.Since(sent))
		}
	}
}

// readAnswer reads one answer to its end. It wants a 2xx with a Content-Length.
func (w *worker) readAnswer() error {
	line, err := w.reader.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if len(line) < len("HTTP/1.1 200") || line[len("HTTP/1.1 ")] != '2' {
		return fmt.Errorf("answered %q", bytes.TrimSpace(line))
	}
	length := -1
	for {
		if line, err = w.reader.ReadSlice('\n'); err != nil {
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
		return fmt.Errorf("answer has no Content-Length")
	}
	if _, err := w.reader.Discard(length); err != nil {
		return fmt.Errorf("read answer's body: %w", err)
	}
	return nil
}
