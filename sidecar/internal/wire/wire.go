// Package wire speaks HTTP to the outside: it listens, reads requests, bounds
// what they may cost, and writes replies.
//
// It owns connections, the framing of requests, the memory of bodies that are
// being read, and the bytes of a reply. It knows nothing of webhooks: the Handler
// says which paths are read whole, and answers them. It must never change a
// reply, or accept a request that another HTTP parser could read differently.
// ingress is its Handler; supervise starts and stops it.
package wire

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sluice/sidecar/internal/metrics"
	"sluice/sidecar/internal/reminder"
	"sluice/sidecar/internal/request"
)

// Handler answers the requests.
type Handler interface {
	// Match returns the endpoint for a method and a path, nil when there is none.
	// path is decoded; received is the same path as it was sent.
	Match(method, path, received string) Endpoint
	// ServeHTTP answers every other request. Its body may still be arriving.
	http.Handler
}

// Endpoint answers requests that are read whole before they are answered.
type Endpoint interface {
	// Serve answers a request. The context ends when the sender hangs up, if that
	// is noticed. The body is valid until Serve returns.
	Serve(context.Context, request.Head, *Body) Reply
	// Refuse answers a request that could not be read. The error is ErrTooLarge,
	// ErrNoMemory, ErrSlow, ErrMalformed, or the error of the connection.
	Refuse(error) Reply
}

// Config are a server's limits and what it works with.
type Config struct {
	NetHTTP bool // net/http serves every connection

	HeaderTimeout    time.Duration // for a request's head
	BodyTimeout      time.Duration // for a body that is read whole
	BodyMinRate      int64         // bytes a second of such a body, 0 for any
	IdleTimeout      time.Duration // of a kept-alive connection
	MaxBodyBytes     int64         // of one such body
	MaxInflightBytes int64         // of all such bodies
	MaxConnections   int64         // 0 for any number

	Draining func() bool // the replica is shutting down
	Metrics  *metrics.Metrics
	Log      *slog.Logger
}

// Server is the public listener. Its own loop (connection.go) reads and answers
// plain requests to an endpoint, which nearly all requests are, on one goroutine
// per connection. When a connection brings any other request, net/http takes it
// over until it ends, before a byte of that request has been consumed
// (handover.go).
type Server struct {
	Config
	handler Handler
	memory  *memory
	nethttp *http.Server

	crowded    reminder.Reminder
	turnedAway chan struct{} // one entry per connection that is being answered 503

	leaving atomic.Bool // StopAccepting was called

	mu       sync.Mutex
	listener net.Listener
	conns    map[tracked]struct{}
	closing  bool
	serving  sync.WaitGroup
}

// New returns a server that does not listen yet. It speaks HTTP/1.1 and HTTP/2
// without TLS.
func New(c Config, h Handler) *Server {
	s := &Server{
		Config: c, handler: h, memory: newMemory(c.MaxInflightBytes),
		conns: map[tracked]struct{}{}, turnedAway: make(chan struct{}, maxTurnedAway),
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s.nethttp = &http.Server{
		Handler: netHandler{s}, Protocols: &protocols, ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: c.HeaderTimeout, IdleTimeout: c.IdleTimeout,
		ConnContext: withFraming, ConnState: noteIdle,
	}
	return s
}

// tracked is an open connection, in either loop.
type tracked interface {
	idleSince() int64 // UnixNano, 0 during a request
	evict()           // closes it, unless a request has begun meanwhile
}
