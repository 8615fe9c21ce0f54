package ingress

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/config"
	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/metrics"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/internal/webhook"
	"sluice/sidecar/routes"
	"sluice/sidecar/settings"
)

// instant is a Queue that costs nothing, so that only ingress is measured.
type instant struct{}

func (instant) Append(_ context.Context, w *webhook.Webhook) (buffer.Receipt, error) {
	return buffer.Receipt{QueueID: 1, ID: w.ID}, nil
}

func (instant) AppendAwaited(_ context.Context, w *webhook.Webhook) (buffer.Receipt, error) {
	return buffer.Receipt{QueueID: 1, ID: w.ID}, nil
}

func (instant) SettleAwaited(context.Context, int64, bool, string) error { return nil }

// repeated is a connection without the kernel. It brings the same request n times
// and counts the answers.
type repeated struct {
	net.Conn
	request  []byte
	n        int
	answer   string // how each answer must begin
	answered int
	ended    chan struct{} // closed with the connection
}

// once is a listener with one connection, and ends with it.
type once struct {
	conn  net.Conn
	ended chan struct{}
}

func (l *once) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.ended
	return nil, net.ErrClosed
}

func (l *once) Close() error   { return nil }
func (l *once) Addr() net.Addr { return &net.TCPAddr{} }

func (c *repeated) Read(p []byte) (int, error) {
	if c.n == 0 {
		return 0, io.EOF
	}
	c.n--
	return copy(p, c.request), nil
}

func (c *repeated) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte(c.answer)) {
		c.answered++

	}
	return len(p), nil
}

func (c *repeated) Close() error                   { close(c.ended); return nil }
func (*repeated) SetReadDeadline(time.Time) error  { return nil }
func (*repeated) SetWriteDeadline(time.Time) error { return nil }
func (*repeated) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 4711} }

// willing is a connection to an app that answers at once.
type willing struct {
	net.Conn
	due int
}

func (w *willing) Write(p []byte) (int, error) { w.due++; return len(p), nil }

func (w *willing) Read(p []byte) (int, error) {
	if w.due == 0 {
		return 0, io.EOF
	}
	w.due--
	return copy(p, "HTTP/1.1 200 OK\r\nDate: Thu, 26 Nov 2026 12:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"), nil
}

func (*willing) Close() error                     { return nil }
func (*willing) SetDeadline(time.Time) error      { return nil }
func (*willing) SetReadDeadline(time.Time) error  { return nil }
func (*willing) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkHeld measures a held webhook without its commit: reading, verifying,
// finding its lane, answering.
func BenchmarkHeld(b *testing.B) { measure(b, gate.New(gate.Config{}), "HTTP/1.1 202 ") }

// BenchmarkForwarded measures a webhook that the app takes, without the kernel.
func BenchmarkForwarded(b *testing.B) {
	g := gate.New(gate.Config{})
	g.Fire(lifecycle.AppUp)
	look, _ := g.Look(1, true)
	g.Surveyed(look)
	measure(b, g, "HTTP/1.1 200 ")
}

func measure(b *testing.B, g *gate.Gate, answer string) {
	const secret = "it is a secret"
	parsed, err := routes.Parse("/webhooks/github=github", routes.Options{Secret: func(name string) string {
		if name == "GITHUB_WEBHOOK_SECRET" {
			return secret
		}
		return ""
	}})
	if err != nil {
		b.Fatal(err)
	}
	up, err := upstream.New(upstream.Config{
		URL:  "http://127.0.0.1:1",
		Dial: func(context.Context, string, string) (net.Conn, error) { return &willing{}, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	in := New(Deps{
		Config: &config.Config{Common: settings.Common{MaxBodyBytes: 1 << 20, MaxInflightBytes: 1 << 20}, Routes: parsed, IdleTimeout: time.Minute},
		Gate:   g, Upstream: up, Metrics: metrics.New(), Log: slog.New(slog.DiscardHandler),
		Queue: instant{}, Vitals: func() Vitals { return Vitals{} }, AppDown: func(error) {}, Kick: func() {}, Answered: func(int, bool) {},
	})
	body := fmt.Sprintf(`{"ref":"refs/heads/main","repository":{"id":1,"full_name":"example/repository"},"filler":"%s"}`, strings.Repeat("x", 1950))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body)) // never fails
	request := fmt.Sprintf("POST /webhooks/github HTTP/1.1\r\nHost: hooks.example.com\r\nUser-Agent: GitHub-Hookshot/044aadd\r\n"+
		"Accept: */*\r\nContent-Type: application/json\r\nContent-Length: %d\r\nX-GitHub-Event: push\r\nX-GitHub-Hook-ID: 292430182\r\n"+
		"X-GitHub-Hook-Installation-Target-ID: 79929171\r\nX-GitHub-Hook-Installation-Target-Type: repository\r\n"+
		"X-Hub-Signature-256: sha256=%s\r\nX-Forwarded-For: 140.82.115.54\r\nX-Forwarded-Proto: https\r\n"+
		"X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958\r\n\r\n%s", len(body), hex.EncodeToString(mac.Sum(nil)), body)
	c := &repeated{request: []byte(request), n: b.N, answer: answer}
	l := &once{conn: c, ended: make(chan struct{})}
	c.ended = l.ended
	b.ReportAllocs()
	b.ResetTimer()
	_ = listener(in).Serve(l) // its only connection has ended
	b.StopTimer()
	if c.answered != b.N {
		b.Fatalf("%d of %d were answered as they should be", c.answered, b.N)
	}
}
