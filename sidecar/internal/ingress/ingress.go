// Package ingress handles a webhook from the moment it has been read to its answer.
//
// It owns the routes, the verification of signatures, and the answers that senders
// get. It must never acknowledge a webhook that neither the app nor the queue has,
// and it must not decide whether to forward or hold: gate does that. webhook.go
// has the steps of a webhook on one page; general.go has those of every other
// request. wire reads requests, calls ingress and writes its replies; supervise
// creates it.
package ingress

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/config"
	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/metrics"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/internal/webhook"
)

// Queue stores webhooks. A nil error means that the webhook is durable.
type Queue interface {
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
	// Full and FullUnverified mean that no more webhooks, or no more unverified
	// ones, may be held (HOLD_MAX_*).
	Full, FullUnverified bool
	Ready                error // nil while a webhook can be forwarded or durably held
}

// Deps are what ingress works with.
type Deps struct {
	Config   *config.Config
	Gate     *gate.Gate
	Queue    Queue
	Upstream *upstream.Client
	Metrics  *metrics.Metrics
	Log      *slog.Logger
	Vitals   func() Vitals
	AppDown  func(error)                     // a dial to the app has failed
	Kick     func()                          // a webhook is stored
	Answered func(status int, verified bool) // the app has answered a forwarded webhook; verified says whether its signature was checked
	Orphaned func()                          // this replica may have left an awaited row behind: see Awaits
}

// Ingress answers the requests of one replica. Its zero value is not usable.
type Ingress struct {
	Deps
	table    atomic.Pointer[table]
	proxy    http.Handler
	holds    holdLog
	unrouted unrouted
	late     sync.WaitGroup // answers awaited after their sender was acknowledged
	awaited  awaited
	last     atomic.Int64 // when the last request arrived, UnixNano
}

// New returns the ingress.
func New(d Deps) *Ingress {
	in := &Ingress{Deps: d, holds: holdLog{log: d.Log}}
	in.SetRoutes(d.Config.Routes)
	in.proxy = d.Upstream.Proxy(d.Log, in.proxyFailed)
	in.last.Store(time.Now().UnixNano())
	return in
}

// LastRequest returns when the last request arrived, or New was called. Requests
// for the health answers do not count.
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
