package ingress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
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
	"sluice/sidecar/internal/wire"
	"sluice/sidecar/routes"
	"sluice/sidecar/settings"
)

// broken is a Queue that panics.
type broken struct{}

func (broken) Append(context.Context, *webhook.Webhook) (buffer.Receipt, error) {
	panic("fault in Append")
}

func (broken) AppendAwaited(context.Context, *webhook.Webhook) (buffer.Receipt, error) {
	panic("fault in AppendAwaited")
}

func (broken) SettleAwaited(context.Context, int64, bool, string) error { return nil }

// brokenWriter is a listener whose connections can't be written to.
type brokenWriter struct{ net.Listener }

func (l brokenWriter) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return brokenConn{c}, err
}

type brokenConn struct{ net.Conn }

func (brokenConn) Write([]byte) (int, error) { panic("fault in Write") }

// A panic costs only that webhook its answer. The gate's counts are given back;
// otherwise a drain would wait for them until its deadline.
func TestAFaultLeavesNothingBehind(t *testing.T) {
	const budget = 50 * time.Millisecond
	late := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			<-late
		}
	}))
	defer app.Close()
	defer close(late)
	for name, c := range map[string]struct {
		path  string
		away  bool // the gate holds
		down  bool // the app refuses connections
		write bool // writing the answer panics
	}{
		"while it is held":               {path: "/plain", away: true},
		"while it is forwarded":          {path: "/forward"},
		"when a failed forward is held":  {path: "/plain", down: true},
		"when a late answer is awaited":  {path: "/late"},
		"while the app is asked at once": {path: "/sync"},
		"while the answer is written":    {path: "/plain", write: true},
	} {
		for framing, request := range map[string]string{
			"own loop": "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
			"net/http": "POST %s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		} {
			if c.write && framing == "net/http" {
				continue // net/http writes on its own goroutine, which is not tested here
			}
			t.Run(name+", "+framing, func(t *testing.T) {
				parsed, err := routes.Parse(fmt.Sprintf("/plain=generic,/forward=generic,/late=generic+%s,/sync=generic+sync", budget), routes.Options{AllowUnverified: true, Secret: func(string) string { return "" }})
				if err != nil {
					t.Fatal(err)
				}
				addr := app.URL
				if c.down {
					addr = "http://127.0.0.1:1"
				}
				up, err := upstream.New(upstream.Config{URL: addr})
				if err != nil {
					t.Fatal(err)
				}
				defer up.Close()
				var log bytes.Buffer
				in := New(Deps{
					Config: &config.Config{Common: settings.Common{MaxBodyBytes: 1000, MaxInflightBytes: 100_000}, Routes: parsed, IdleTimeout: time.Minute, HeaderTimeout: time.Minute, BodyTimeout: time.Minute},
					Gate:   gate.New(gate.Config{}), Upstream: up, Metrics: metrics.New(), Log: slog.New(slog.NewTextHandler(&log, nil)), Queue: broken{},
					Vitals: func() Vitals { return Vitals{} }, AppDown: func(error) {}, Kick: func() {},
				})
				in.find("/forward").forwarded, in.find("/sync").forwarded = nil, nil
				if !c.away {
					in.Gate.Fire(lifecycle.AppUp)
					look, _ := in.Gate.Look(1, true)
					in.Gate.Surveyed(look)
				}
				faulty(t, in, c.write, fmt.Sprintf(request, c.path))
				if n := in.Gate.Counts(); n.InFlight != 0 || n.Holds != 0 {
					t.Errorf("%d in flight and %d holds are left", n.InFlight, n.Holds)
				}
				if !strings.Contains(log.String(), "fault in the sidecar") {
					t.Errorf("the fault is not in the log: %s", log.String())
				}
			})
		}
	}
}

// listener returns the public listener of in.
func listener(in *Ingress) *wire.Server {
	c := in.Config
	return wire.New(wire.Config{
		HeaderTimeout: c.HeaderTimeout, BodyTimeout: c.BodyTimeout, IdleTimeout: c.IdleTimeout, MaxBodyBytes: c.MaxBodyBytes, MaxInflightBytes: c.MaxInflightBytes,
		Draining: func() bool { return false }, Metrics: in.Metrics, Log: in.Log,
	}, in)
}

// faulty sends the request and returns when the listener is closed. The connection
// must end without an answer.
func faulty(t *testing.T, in *Ingress, write bool, request string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := listener(in)
	served := make(chan error, 1)
	go func() {
		if write {
			served <- f.Serve(brokenWriter{l})
			return
		}
		served <- f.Serve(l)
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(c, request)
	if got, err := io.ReadAll(c); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("answered %q (%v)", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := f.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
