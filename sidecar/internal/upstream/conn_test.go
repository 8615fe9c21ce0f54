package upstream

import (
	"bufio"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// An idle connection serves the next webhook even when the deadline of the one
// before has passed.
func TestIdleConnectionOutlivesItsDeadline(t *testing.T) {
	t.Parallel()
	var conns atomic.Int64
	client := newPeer(t, func(n int, c net.Conn, br *bufio.Reader) {
		conns.Add(1)
		says("HTTP/1.1 204 No Content\r\n\r\n")(n, c, br)
	}).client(t)
	limit := time.Now().Add(300 * time.Millisecond)
	e, err := client.Send(hook("{}"), 1, false, limit)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Await(limit); err != nil {
		t.Fatal(err)
	}
	e.Close()
	<-time.After(time.Until(limit) + time.Millisecond)
	if _, _, err := ask(client, hook("{}"), patience); err != nil || conns.Load() != 1 {
		t.Errorf("%d connections (%v), want the first one used again", conns.Load(), err)
	}
}

// Drop does not wait for the rest of an answer, and reuses the connection only when
// the answer has arrived whole.
func TestDrop(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer string
		kept   int
	}{
		"no body":       {"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", 1},
		"whole":         {"HTTP/1.1 503 X\r\nContent-Length: 2\r\n\r\nno", 1},
		"whole, chunks": {"HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 1},
		"body to come":  {"HTTP/1.1 503 X\r\nContent-Length: 3\r\n\r\nno", 0},
		"chunk to come": {"HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n", 0},
		"until its end": {"HTTP/1.1 503 X\r\n\r\nno", 0},
	} {
		t.Run(name, func(t *testing.T) {
			client := newPeer(t, func(_ int, conn net.Conn, br *bufio.Reader) {
				readRequest(br)
				io.WriteString(conn, c.answer)
				io.Copy(io.Discard, br) // it sends no more
			}).client(t)
			e, err := client.Send(hook("{}"), 1, false, time.Now().Add(patience))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Await(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() { e.Drop(); close(done) }()
			select {
			case <-done:
			case <-time.After(answerTimeout / 2):
				t.Fatal("it waits for the rest")
			}
			if len(client.idle) != c.kept || len(client.active) != 0 {
				t.Errorf("%d connections kept and %d in use, want %d kept", len(client.idle), len(client.active), c.kept)
			}
		})
	}
}
