// Package wire speaks HTTP to the outside: it listens, reads requests, bounds
// what they may cost, and writes replies.
//
// It owns connections, the framing of requests, the memory of bodies that are
// being read, and the bytes of a reply. It knows no webhook: which paths are
// read whole, and what becomes of them, is the Handler's. It must never change a
// reply, nor take a request that another HTTP parser could read differently.
// ingress is its Handler; supervise starts and stops it.
package wire

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"sluice/sidecar/internal/metrics"
	"sluice/sidecar/internal/reminder"
	"sluice/sidecar/internal/request"
)

// Handler answers what the listener reads.
type Handler interface {
	// Match returns the endpoint for POSTs to a path, nil when there is none.
	// The path is decoded, the target's path is as it was received.
	Match(path, received string) Endpoint
	// ServeHTTP answers every other request, while its body is still arriving.
	http.Handler
}

// Endpoint answers requests that are read whole before they are answered.
type Endpoint interface {
	// Serve answers a request. The context ends when the sender is seen to hang
	// up, which is not always seen. The body is valid until Serve returns.
	Serve(context.Context, request.Head, *Body) Reply
	// Refuse answers a request that could not be read: the error is ErrTooLarge,
	// ErrNoMemory, ErrSlow, ErrMalformed, or what reading ended with.
	Refuse(error) Reply
}

// Config are a server's limits and the rooms it works with.
type Config struct {
	NetHTTP bool // leave every connection to net/http

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

// Server is the public listener. Plain requests to an endpoint, which are nearly
// all there is, are read and answered by its own loop (connection.go), on one
// goroutine per connection. A connection that brings anything else is handed
// over to net/http for the rest of its life, before a byte of that request has
// been consumed (handover.go).
type Server struct {
	Config
	handler Handler
	memory  *memory
	nethttp *http.Server

	crowded    reminder.Reminder
	turnedAway chan struct{} // holds one for each connection that is being told 503

	mu      sync.Mutex
	conns   map[tracked]struct{}
	closing bool
	serving sync.WaitGroup
}

// New returns a server that does not listen yet. HTTP/1.1 and HTTP/2 without
// TLS are spoken.
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
	evict()           // ends it, unless a request has begun meanwhile
}
