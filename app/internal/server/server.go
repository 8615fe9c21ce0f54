// Package server answers the app's HTTP requests. It reads and verifies webhooks,
// asks the hooks which jobs they start and gives both to intake; it answers the
// health checks and /drain. It must never run a job and never acknowledge a
// webhook that is not stored. The service package starts it.
package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"sluice/app/drain"
	"sluice/app/internal/hooks"
	"sluice/app/internal/intake"
	"sluice/app/internal/tracing"
	"sluice/sidecar/routes"
)

// Store is the part of intake that the server needs.
type Store interface {
	Store(ctx context.Context, w *intake.Webhook) (stored bool, err error)
}

// Config sets up a Server.
type Config struct {
	Drain            *drain.Drain
	Store            Store
	Rules            func() *hooks.Rules
	Ping             func(context.Context) error // checks the database
	GitHubAPIURL     string
	Routes           []routes.Route
	SluiceSecrets    []string // shared with the sidecar; two during rotation
	MaxBodyBytes     int64
	MaxInflightBytes int64
	Tracer           *tracing.Tracer // may be nil
	Logger           *slog.Logger
}

// Server answers the app's requests. Use [New].
type Server struct {
	c        Config
	log      *slog.Logger
	inflight *semaphore.Weighted
	large    sync.Mutex // held while a large payload is parsed
	ready    atomic.Bool
	routes   atomic.Pointer[http.ServeMux] // of the webhooks
	database *check
	github   *check
}

// New returns a Server that refuses webhooks until [Server.Ready].
func New(c Config) *Server {
	s := &Server{c: c, log: c.Logger, inflight: semaphore.NewWeighted(c.MaxInflightBytes)}
	s.database = newCheck(time.Second, 2*time.Second, c.Ping)
	s.github = newCheck(30*time.Second, 3*time.Second, githubPing(c.GitHubAPIURL))
	s.SetRoutes(c.Routes)
	return s
}

// Ready makes the server accept webhooks. Call it when the schema is up to date
// and jobs are fetched.
func (s *Server) Ready() { s.ready.Store(true) }

// SetRoutes puts other routes in force. Requests under way keep theirs.
func (s *Server) SetRoutes(list []routes.Route) {
	mux := http.NewServeMux()
	for _, r := range list {
		mux.Handle(pattern(r), s.webhook(r))
	}
	s.routes.Store(mux)
}

// Handler answers health checks, the drain and the routes' webhooks. A path of its own
// comes before that of a route.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.routes.Load().ServeHTTP(w, r) })
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /health", s.healthz)
	mux.HandleFunc("GET /readiness", s.readiness)
	mux.Handle("/drain", s.c.Drain.Handler())
	return mux
}

// pattern is the route as a pattern of net/http, where a path that ends in "/"
// also matches everything below it.
func pattern(r routes.Route) string {
	if strings.HasSuffix(r.Path, "/") && !r.Prefix {
		return r.Path + "{$}"
	}
	return r.Path
}

// answer writes a JSON body.
func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// refuse writes an error that the sender may read. With a 503 it asks to try
// again.
func refuse(w http.ResponseWriter, status int, message string) {
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	answer(w, status, map[string]string{"status": "error", "error": message})
}
