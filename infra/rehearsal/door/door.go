// Package door stands in for the platform's ingress.
//
// It owns one port, the list of replicas and what is known of their readiness:
// it routes to ready replicas only, in turn, answers 503 itself when there is
// none or when one fails it, and goes on routing to a leaving replica for a
// while. It must never hold or repeat a request unless told to, and never look
// at what it carries.
package door

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"sluice/infra/rehearsal/timeline"
)

// ReplicaHeader is the response header in which the door names the replica
// that it routed to; without it there was none.
const ReplicaHeader = "Rehearsal-Replica"

const (
	name         = "ingress"
	probeTimeout = time.Second
	maxBody      = 32 << 20
)

// Options say how the door behaves.
type Options struct {
	ProbeEvery time.Duration // between two looks at a replica's readiness
	// Retries is how often a request that a replica failed is tried again, as
	// the platform's ingress may do.
	Retries int
}

// Door is the ingress stand-in.
type Door struct {
	options Options
	log     *timeline.Log
	probe   *http.Client
	server  *http.Server
	addr    string
	stop    context.CancelFunc
	closing <-chan struct{} // closed by stop
	work    sync.WaitGroup
	served  error

	mu       sync.Mutex
	backends []*backend
	turn     int
}

// backend is a replica behind the door.
type backend struct {
	name      string
	target    *url.URL
	probeURL  string
	proxy     *httputil.ReverseProxy
	transport *http.Transport
	stop      context.CancelFunc

	ready   bool          // under the door's lock
	leaving bool          // under the door's lock: routed to whatever its probes say
	first   chan struct{} // closed when it is ready for the first time
}

// Open listens on a free port and serves until Close.
func Open(o Options, log *timeline.Log) (*Door, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open ingress: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &Door{options: o, log: log, addr: l.Addr().String(), stop: stop, closing: ctx.Done(),
		probe: &http.Client{Timeout: probeTimeout, Transport: &http.Transport{}}}
	d.server = &http.Server{
		Handler:           d,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	d.work.Go(func() {
		if err := d.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			d.served = err
		}
	})
	return d, nil
}

// URL is where senders post.
func (d *Door) URL() string { return "http://" + d.addr }

// Add puts a replica behind the door; it is routed to once /startupz has
// passed and while /readyz passes. The channel is closed when it is ready for
// the first time.
func (d *Door) Add(replica, ingress, probe string) <-chan struct{} {
	ctx, stop := context.WithCancel(context.Background())
	b := &backend{
		name:      replica,
		target:    &url.URL{Scheme: "http", Host: ingress},
		probeURL:  "http://" + probe,
		transport: &http.Transport{MaxIdleConnsPerHost: 256},
		stop:      stop,
		first:     make(chan struct{}),
	}
	b.proxy = d.proxyTo(b)
	d.mu.Lock()
	d.backends = append(d.backends, b)
	d.mu.Unlock()
	d.work.Go(func() { d.watch(ctx, b) })
	return b.first
}

// Leave takes a replica out after the given time, or when ctx ends. Until then
// it is routed to whatever its probes say, because the news of its leaving
// reaches the platform's ingress late.
func (d *Door) Leave(ctx context.Context, replica string, after time.Duration) {
	d.mu.Lock()
	for _, b := range d.backends {
		if b.name == replica {
			b.leaving = b.ready
		}
	}
	d.mu.Unlock()
	d.work.Go(func() {
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-d.closing:
		}
		d.remove(replica)
	})
}

func (d *Door) remove(replica string) {
	d.mu.Lock()
	var gone *backend
	for i, b := range d.backends {
		if b.name == replica {
			gone = b
			d.backends = append(d.backends[:i:i], d.backends[i+1:]...)
			break
		}
	}
	d.mu.Unlock()
	if gone == nil {
		return
	}
	gone.stop()
	d.log.Add(name, "no longer routes to %s", replica)
}

// Close stops listening, drops every replica and waits.
func (d *Door) Close() error {
	err := d.server.Close()
	d.stop()
	d.mu.Lock()
	backends := d.backends
	d.backends = nil
	d.mu.Unlock()
	for _, b := range backends {
		b.stop()
	}
	d.work.Wait()
	d.probe.CloseIdleConnections()
	return errors.Join(err, d.served)
}

// watch polls one replica's probes until ctx ends.
func (d *Door) watch(ctx context.Context, b *backend) {
	defer b.transport.CloseIdleConnections()
	tick := time.NewTicker(d.options.ProbeEvery)
	defer tick.Stop()
	path := "/startupz"
	for {
		ok := d.passes(ctx, b.probeURL+path)
		if ok && path == "/startupz" {
			path = "/readyz"
			ok = d.passes(ctx, b.probeURL+path)
		}
		if ctx.Err() != nil {
			return
		}
		d.mark(b, ok)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (d *Door) passes(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := d.probe.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return err == nil && resp.StatusCode >= 200 && resp.StatusCode < 400
}

func (d *Door) mark(b *backend, ready bool) {
	d.mu.Lock()
	was := b.ready
	b.ready = ready
	d.mu.Unlock()
	switch {
	case ready && !was:
		d.log.Add(name, "routes to %s", b.name)
		select {
		case <-b.first:
		default:
			close(b.first)
		}
	case was && !ready:
		d.log.Add(name, "finds %s not ready", b.name)
	}
}

// next returns the ready replica whose turn it is, nil when there is none.
func (d *Door) next() *backend {
	d.mu.Lock()
	defer d.mu.Unlock()
	for range d.backends {
		d.turn++
		if b := d.backends[d.turn%len(d.backends)]; b.ready || b.leaving {
			return b
		}
	}
	return nil
}

// Route returns the replica whose turn it is and the address of its ingress, for
// a sender that connects to it by itself; false when none is ready.
func (d *Door) Route() (replica, ingress string, ok bool) {
	if b := d.next(); b != nil {
		return b.name, b.target.Host, true
	}
	return "", "", false
}

// ServeHTTP routes one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.options.Retries > 0 {
		d.serveWithRetries(w, r)
		return
	}
	b := d.next()
	if b == nil {
		refuse(w, "no healthy upstream")
		return
	}
	b.proxy.ServeHTTP(w, r)
}

// serveWithRetries keeps the body so that a failed try can be repeated.
func (d *Door) serveWithRetries(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "cannot read body", http.StatusBadRequest)
		return
	}
	for left := d.options.Retries; ; left-- {
		b := d.next()
		if b == nil {
			refuse(w, "no healthy upstream")
			return
		}
		try := &attempt{}
		again := r.Clone(context.WithValue(r.Context(), attemptKey{}, try))
		again.Body = io.NopCloser(bytes.NewReader(body))
		if left == 0 {
			try.last = true
		}
		b.proxy.ServeHTTP(w, again)
		if !try.failed || try.last {
			return
		}
	}
}

type attemptKey struct{}

// attempt tells serveWithRetries how a try went.
type attempt struct{ failed, last bool }

func (d *Door) proxyTo(b *backend) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport: b.transport,
		ErrorLog:  log.New(io.Discard, "", 0), // the ledger of the senders tells
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(b.target)
			p.Out.Host = p.In.Host
			p.SetXForwarded() // client's address overwritten, as the platform does
			p.Out.Header.Set("X-Forwarded-Proto", "https")
		},
		ModifyResponse: func(resp *http.Response) error {
			resp.Header.Set(ReplicaHeader, b.name)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if try, ok := r.Context().Value(attemptKey{}).(*attempt); ok {
				try.failed = true
				if !try.last {
					return // nothing was written yet: the next try answers
				}
			}
			// The platform's ingress says 503 for a replica that it cannot
			// reach or that resets the connection.
			w.Header().Set(ReplicaHeader, b.name)
			refuse(w, "upstream connect error or disconnect/reset before headers")
		},
	}
}

func refuse(w http.ResponseWriter, reason string) {
	http.Error(w, reason, http.StatusServiceUnavailable)
}
