// Package ingress is the public listener: it takes every request, bounds it,
// and answers it.
//
// It owns the routes, the limits on bodies and memory, and the answers to the
// outside. It must never acknowledge a webhook that neither the app nor the
// buffer has, and it decides nothing that gate decides. The way of a webhook is
// door.go, from its capture to its answer. supervise starts it.
package ingress

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/config"
	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/metrics"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/internal/webhook"
	"sluice/sidecar/routes"
)

// Keeper stores webhooks. A nil error means that the webhook is durable.
type Keeper interface {
	Append(context.Context, *webhook.Webhook) (buffer.Receipt, error)
	AppendAwaited(context.Context, *webhook.Webhook) (buffer.Receipt, error)
	SettleAwaited(ctx context.Context, queueID int64, completed bool, reason string) error
}

// Vitals are what the public health answers say.
type Vitals struct {
	Database bool   // reachable and writable
	App      string // healthy, unhealthy or unknown
	State    string
	Held     int64 // webhooks waiting for the app
	// Full and FullUnverified say that no more may be held (HOLD_MAX_*).
	Full, FullUnverified bool
}

// Deps are the rooms that ingress works with.
type Deps struct {
	Config   *config.Config
	Gate     *gate.Gate
	Keeper   Keeper
	Upstream *upstream.Client
	Metrics  *metrics.Metrics
	Log      *slog.Logger
	Vitals   func() Vitals
	AppDown  func(error)                     // a dial to the app has failed
	Kick     func()                          // a webhook is stored
	Answered func(status int, verified bool) // the app has answered a live webhook, whose signature was checked or not
	Orphaned func()                          // a row may be awaited in this replica's name by nobody: see Awaits
}

// Ingress is the public face of a replica. Its zero value is not usable.
type Ingress struct {
	Deps
	routes   []*route // as configured
	exact    map[string]*route
	prefixes []*route // longest first
	memory   *memory
	proxy    http.Handler
	holds    holdLog
	unrouted unrouted
	late     sync.WaitGroup // answers awaited after their sender was acknowledged
	awaiting awaiting
	last     atomic.Int64 // when the last request came, UnixNano
}

// New returns the ingress.
func New(d Deps) *Ingress {
	in := &Ingress{Deps: d, exact: map[string]*route{}, memory: newMemory(d.Config.MaxInflightBytes), holds: holdLog{log: d.Log}}
	in.indexRoutes(d.Config.Routes)
	in.proxy = d.Upstream.Proxy(d.Log, in.proxyFailed)
	in.last.Store(time.Now().UnixNano())
	return in
}

// LastRequest returns when the last request came in, or New was called.
func (in *Ingress) LastRequest() time.Time { return time.Unix(0, in.last.Load()) }

// Wait returns when every late answer is settled, or ctx ends.
func (in *Ingress) Wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() { in.late.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ServeHTTP finds the room for a request: a health answer, a webhook route, or
// the general lane.
func (in *Ingress) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if fault := recover(); fault != nil {
			if err, ok := fault.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				in.tellFault(fault)
			}
			panic(http.ErrAbortHandler) // net/http ends the connection
		}
	}()
	if mustClose(r) {
		w = lastAnswer{w}
	}
	switch r.URL.Path {
	case "/healthz", "/health":
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			in.health(w)
			return
		}
	}
	if asksForDrain(r) { // between the containers only
		http.NotFound(w, r)
		return
	}
	in.last.Store(time.Now().UnixNano())
	route := in.route(r.URL.Path)
	switch {
	case route != nil && r.Method == http.MethodPost:
		in.serveWebhook(w, r, route)
		return
	case route != nil && in.serveHandshake(w, r, route):
		return
	case r.Method == http.MethodPost:
		in.noteUnrouted(r)
	}
	in.general(w, r)
}

// asksForDrain looks at the target as the app would get it.
func asksForDrain(r *http.Request) bool {
	target, _, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(target, "/") { // in absolute form
		target = r.URL.EscapedPath()
	}
	return routes.IsDrain(target) || r.URL.Opaque != "" && routes.IsDrain(r.URL.Opaque)
}

// general proxies a request that is no webhook.
func (in *Ingress) general(w http.ResponseWriter, r *http.Request) {
	if !in.Gate.Join() {
		unavailable(w, "the app is away")
		return
	}
	defer in.Gate.Leave()
	// An app may answer while it is still being sent to. An error means that
	// the protocol (HTTP/2) does it anyway.
	_ = http.NewResponseController(w).EnableFullDuplex()
	in.proxy.ServeHTTP(w, r)
}

// proxyFailed answers a request that the app did not.
func (in *Ingress) proxyFailed(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // the client has gone
	}
	if upstream.IsDial(err) {
		in.AppDown(err)
		unavailable(w, "the app is away")
		return
	}
	in.Log.Warn("Request failed at the app", "method", r.Method, "path", r.URL.Path, "err", err)
	http.Error(w, "the app broke off before it answered", http.StatusBadGateway)
}

func unavailable(w http.ResponseWriter, why string) {
	w.Header().Set("Retry-After", "5")
	http.Error(w, why+"; try again", http.StatusServiceUnavailable)
}
