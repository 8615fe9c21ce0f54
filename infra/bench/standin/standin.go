// Package standin holds two programs for the bench: the app that a proxy forwards
// to, and a proxy made with httputil.ReverseProxy. Each runs in a process of its
// own.
//
// They must be as fast as possible, since a slow opponent would make the sidecar
// look good, and must never depend on the bench. infra/cmd/bench runs them by
// starting itself again.
package standin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// StatsPath is where the app reports what it has received.
const StatsPath = "/-/stats"

// Stats are the webhooks that an app has received.
type Stats struct {
	Webhooks int64 `json:"webhooks"`
	First    int64 `json:"first"` // Unix nanoseconds
	Last     int64 `json:"last"`
}

// App answers webhooks with 202 and GET /healthz with 200, until ctx ends.
func App(ctx context.Context, addr string) error {
	var stats struct{ webhooks, first, last atomic.Int64 }
	answer := []byte(`{"status":"accepted"}`)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, "body could not be read", http.StatusBadRequest)
			return
		}
		now := time.Now().UnixNano()
		stats.first.CompareAndSwap(0, now)
		stats.last.Store(now)
		stats.webhooks.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(answer) // a client that hung up needs no answer
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET "+StatsPath, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(Stats{stats.webhooks.Load(), stats.first.Load(), stats.last.Load()})
	})
	return serve(ctx, addr, mux)
}

// ReverseProxy forwards everything to the upstream, until ctx ends: the proxy
// that one would write with the standard library, with connections reused and
// buffers pooled.
func ReverseProxy(ctx context.Context, addr, upstream string) error {
	target, err := url.Parse("http://" + upstream)
	if err != nil {
		return fmt.Errorf("parse upstream: %w", err)
	}
	return serve(ctx, addr, &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
			MaxIdleConns:        64,
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true,
		},
		BufferPool: &buffers{},
	})
}

// buffers saves ReverseProxy from allocating 32 KB for each answer.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

func serve(ctx context.Context, addr string, handler http.Handler) error {
	server := &http.Server{Addr: addr, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
