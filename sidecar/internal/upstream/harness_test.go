package upstream

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/infra/leaks"
	"sluice/sidecar/internal/request"
	"sluice/sidecar/internal/webhook"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// patience is how long anything may take, also on a slow machine.
const patience = time.Minute

// peer is an app whose connections each follow a script of the test.
type peer struct {
	ln    net.Listener
	all   sync.WaitGroup
	mu    sync.Mutex
	conns []net.Conn
}

// newPeer serves the connections with serve, in the order they arrive.
func newPeer(t *testing.T, serve func(n int, c net.Conn, br *bufio.Reader)) *peer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{ln: ln}
	p.all.Go(func() {
		for n := 0; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(2 * patience))
			p.mu.Lock()
			p.conns = append(p.conns, c)
			p.mu.Unlock()
			p.all.Go(func() {
				defer c.Close()
				serve(n, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(p.close)
	return p
}

func (p *peer) close() {
	p.ln.Close()
	p.mu.Lock()
	for _, c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.all.Wait()
}

func (p *peer) client(t *testing.T) *Client {
	t.Helper()
	c, err := New(Config{URL: "http://" + p.ln.Addr().String(), HealthPath: "/healthz"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// readRequest reads one request with a Content-Length.
func readRequest(br *bufio.Reader) (head, body string, err error) {
	var b strings.Builder
	n := 0
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		if line == "\r\n" {
			break
		}
		if v, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			for _, d := range strings.TrimSpace(v) {
				n = n*10 + int(d-'0')
			}
		}
		b.WriteString(line)
	}
	buf := make([]byte, n)
	_, err = io.ReadFull(br, buf)
	return b.String(), string(buf), err
}

// says answers every request of a connection with the same bytes.
func says(answer string) func(int, net.Conn, *bufio.Reader) {
	return func(_ int, c net.Conn, br *bufio.Reader) {
		for {
			if _, _, err := readRequest(br); err != nil {
				return
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	}
}

func hook(body string) *webhook.Webhook {
	return &webhook.Webhook{
		ID: "01890000-0000-7000-8000-000000000000", Source: "generic", Head: request.NewHead("POST", "/hooks/x", "h"),
		Body: []byte(body), ReceivedAt: time.Unix(1700000000, 0),
	}
}

// ask sends a webhook and reads the whole answer.
func ask(c *Client, w *webhook.Webhook, limit time.Duration) (resp Response, body string, err error) {
	deadline := time.Now().Add(limit)
	e, err := c.Send(w, 1, false, deadline)
	if err != nil {
		return Response{}, "", err
	}
	r, err := e.Await(deadline)
	if err != nil {
		e.Close()
		return Response{}, "", err
	}
	resp = *r
	resp.Fields = bytes.Clone(r.Fields)
	b, err := io.ReadAll(e.Body())
	e.Close()
	return resp, string(b), err
}
