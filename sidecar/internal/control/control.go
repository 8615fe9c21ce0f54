// Package control answers operators and the platform: on the probe listener
// (startup, readiness, liveness, metrics) and on the control listener, which is on
// loopback by default.
//
// It owns their paths, their answers and the check of the control token. It must
// never touch a webhook, and it has no state: every answer comes from its Reporter.
// supervise serves it; `sidecar status` calls it.
package control

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Status describes a replica at one moment. It is the body of GET /v1/status.
type Status struct {
	State      string  `json:"state"`
	App        string  `json:"app"` // healthy, unhealthy or unknown
	Database   string  `json:"db"`  // connected or unreachable
	Held       int64   `json:"held"`
	Pending    int64   `json:"pending"`
	Processing int64   `json:"processing"`
	Failed     int64   `json:"failed"`
	HeldBytes  int64   `json:"held_bytes"`
	OldestSecs float64 `json:"oldest_pending_seconds"`
	Replayed   int64   `json:"replayed"` // by this replica since it started
	InFlight   int     `json:"in_flight"`
	Holding    int     `json:"holding"` // being stored now
	ShutLanes  int     `json:"shut_lanes"`
	Forced     int     `json:"forced_lanes"`
	// BreakerOpenSecs is how long the app has refused every webhook, 0 while it does
	// not. BreakerStatus is the status it answers with, 0 when attempts fail otherwise.
	BreakerOpenSecs float64  `json:"breaker_open_seconds"`
	BreakerStatus   int      `json:"breaker_status"`
	LockedKeys      []string `json:"locked_keys"` // ids of BUFFER_KEYs that lanes wait for and no living replica has

	Order      string  `json:"order"`
	Sealed     bool    `json:"sealed"` // ORDER=strict beside another replica: every webhook goes through the queue
	Replica    string  `json:"replica"`
	Instance   string  `json:"instance"`
	Version    string  `json:"version"`
	UptimeSecs float64 `json:"uptime_seconds"`

	Closed   []Closed   `json:"closed"`   // routes without their secret: each webhook gets 503
	Refused  []Refusal  `json:"refused"`  // webhooks refused since this replica started
	Unrouted []Unrouted `json:"unrouted"` // webhooks without a route since this replica started
}

// Closed is a route that takes nothing until it has a secret.
type Closed struct {
	Route    string `json:"route"`
	Source   string `json:"source"`
	Variable string `json:"variable"` // where the secret belongs
}

// Refusal is how often a route has refused webhooks for one reason.
type Refusal struct {
	Route  string `json:"route"`
	Source string `json:"source"`
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
}

// Unrouted counts requests of a known sender to a path without a route.
type Unrouted struct {
	Path   string `json:"path"` // "" for all paths after the first twenty
	Sender string `json:"sender"`
	Add    string `json:"add"` // the setting that would add the route
	Count  int64  `json:"count"`
}

// Reporter reports on the replica.
type Reporter interface {
	Status() Status
	Started() error // nil once the startup probe may pass
	Ready() error   // nil while a webhook can be forwarded or durably held
	OverrideBreaker()
	Drain() // holds every webhook from now on
}

// Probes returns the handler of the probe listener.
func Probes(r Reporter, registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /startupz", func(w http.ResponseWriter, _ *http.Request) { verdict(w, r.Started()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { verdict(w, r.Ready()) })
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { verdict(w, nil) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

func verdict(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// API returns the handler of the control listener. With a token every request
// must carry it: Authorization: Bearer TOKEN.
func API(r Reporter, token string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		// An error means that the client's connection broke.
		_ = json.NewEncoder(w).Encode(r.Status())
	})
	mux.HandleFunc("POST /v1/breaker/override", func(w http.ResponseWriter, _ *http.Request) {
		r.OverrideBreaker()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /v1/drain", func(w http.ResponseWriter, _ *http.Request) {
		r.Drain()
		w.WriteHeader(http.StatusNoContent)
	})
	if token == "" {
		return mux
	}
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if got := sha256.Sum256([]byte(given)); subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			http.Error(w, "CONTROL_TOKEN is missing or wrong", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
