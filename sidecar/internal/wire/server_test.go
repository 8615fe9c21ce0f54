package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/sidecar/internal/metrics"
	"sluice/sidecar/internal/request"
)

// paths is a Handler with an endpoint at each of its paths. It answers with the
// body that it got.
type paths []string

func (p paths) Match(method, path, received string) Endpoint {
	if method != "POST" {
		return nil
	}
	if slices.Contains(p, path) {
		return echo{}
	}
	return nil
}

func (paths) ServeHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

type echo struct{}

func (echo) Serve(_ context.Context, head request.Head, b *Body) Reply {
	if head.Get("X-Fault") != "" {
		panic("fault in Serve")
	}
	return Reply{Status: 200, Body: bytes.Clone(b.Bytes())}
}

func (echo) Refuse(err error) Reply { return Text(400, err.Error()) }

// server returns a server that does not listen.
func server(t testing.TB, log io.Writer) *Server {
	t.Helper()
	if log == nil {
		log = io.Discard
	}
	return New(Config{
		HeaderTimeout: time.Minute, BodyTimeout: time.Minute, IdleTimeout: time.Minute, MaxBodyBytes: 1000, MaxInflightBytes: 10_000,
		Draining: func() bool { return false }, Metrics: metrics.New(), Log: slog.New(slog.NewTextHandler(log, nil)),
	}, paths{"/hooks/a"})
}

// exchange sends a request over a new connection and returns everything that
// comes back.
func exchange(t *testing.T, addr, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(c, text)
	got, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection stays open after %q", got)
	}
	return string(got)
}

// Both loops read the same requests and write the same replies. A panic ends one
// connection, and the memory of its body is given back.
func TestBothLoops(t *testing.T) {
	for name, nethttp := range map[string]bool{"own loop": false, "net/http": true} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			s := server(t, &log)
			s.NetHTTP = nethttp
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- s.Serve(l) }()
			post := func(fields, body string) string {
				return exchange(t, l.Addr().String(), fmt.Sprintf("POST /hooks/a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n%sConnection: close\r\n\r\n%s", len(body), fields, body))
			}
			if got := post("", "hello"); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(got, "\r\n\r\nhello") || !strings.Contains(got, "\r\nContent-Length: 5\r\n") {
				t.Errorf("answered %q", got)
			}
			if got := post("", strings.Repeat("x", 1001)); !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, "body too large") {
				t.Errorf("a body that is too large: %q", got)
			}
			if got := exchange(t, l.Addr().String(), "POST /hooks/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"); !strings.HasSuffix(got, "abc") {
				t.Errorf("a chunked body: %q", got)
			}
			if got := post("X-Fault: 1\r\n", strings.Repeat("x", 900)); got != "" {
				t.Errorf("a fault is answered: %q", got)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := s.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
			if !whole(s.memory, s.MaxInflightBytes) {
				t.Error("memory is left counted")
			}
			if !strings.Contains(log.String(), "fault in the sidecar") {
				t.Errorf("the fault is not in the log: %s", log.String())
			}
		})
	}
}
