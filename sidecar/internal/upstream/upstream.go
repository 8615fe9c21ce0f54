// Package upstream talks to the app: it sends webhooks, proxies everything else
// and probes its health.
//
// It alone opens connections to the app. It reports what happened and must never
// decide what that means for a webhook: it does not hold, acknowledge or change a
// state. ingress and replay send through it; health and supervise probe with it.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"
)

// What can go wrong with a request to the app.
var (
	ErrDial  = errors.New("app refuses connections")
	ErrReset = errors.New("app closed the connection before it answered")
	ErrLate  = errors.New("app has not answered in time")
)

// Config says where the app is.
type Config struct {
	URL         string        // "http://127.0.0.1:3000"
	HealthPath  string        // "/healthz"
	DialTimeout time.Duration // 1 s when zero
	MaxIdle     int           // kept-alive connections, 64 when zero
	Secret      string        // SLUICE_SECRET, signs every request; none when empty
	// Dial opens every connection to the app; the network's own when nil.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Client holds the connections to one app. Close ends it.
type Client struct {
	cfg  Config
	base *url.URL
	addr string
	dial dialer

	mu     sync.Mutex
	idle   []*conn
	active map[*conn]struct{}
	closed bool
}

// New returns a client for the app at cfg.URL.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" || u.Host == "" || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("app URL must be http://host:port; it is %q", cfg.URL)
	}
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = time.Second
	}
	if cfg.MaxIdle == 0 {
		cfg.MaxIdle = 64
	}
	dial := cfg.Dial
	if dial == nil {
		d := net.Dialer{Timeout: cfg.DialTimeout, KeepAlive: 30 * time.Second}
		dial = d.DialContext
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return &Client{
		cfg:    cfg,
		base:   u,
		addr:   net.JoinHostPort(u.Hostname(), port),
		dial:   dial,
		active: map[*conn]struct{}{},
	}, nil
}

// dialer opens the connections to the app.
type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// Dial is DialContext without a context.
func (d dialer) Dial(network, addr string) (net.Conn, error) {
	return d(context.Background(), network, addr)
}

// DialContext opens a connection.
func (d dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return d(ctx, network, addr)
}

// Close closes every connection; requests under way end with ErrReset.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, k := range c.idle {
		k.net.Close()
	}
	for k := range c.active {
		k.net.Close()
	}
	c.idle = nil
}
