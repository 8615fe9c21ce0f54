// Package balancer stands in for the platform's load balancer.
//
// It owns one port, the list of replicas and whether each is ready. It routes to
// ready replicas in turn, answers 503 itself when none is ready or one fails, and
// goes on routing to a leaving replica for a while. It must never delay a
// request, nor repeat one unless Retries says so, nor look at a body. The
// rehearsal, package chaos and the app's examples start it.
package balancer

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

// ReplicaHeader is the response header that names the replica which the balancer
// routed to. It is absent when there was none.
const ReplicaHeader = "Rehearsal-Replica"

const (
	name         = "balancer"
	probeTimeout = time.Second
	maxBody      = 32 << 20
)

// Options say how the balancer behaves.
type Options struct {
	ProbeEvery time.Duration // between two looks at a replica's readiness
	// Retries is how often a request is tried again after a replica failed, as
	// the platform's balancer may do.
	Retries int
	// Probes are the paths of the replicas' probes: the first until it has passed
	// once, the last from then on. /startupz and /readyz when it is empty.
	Probes []string
}

// Balancer is the stand-in. Open makes one.
type Balancer struct {
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

// backend is a replica behind the balancer.
type backend struct {
	name      string
	target    *url.URL
	probeURL  string
	proxy     *httputil.ReverseProxy
	transport *http.Transport
	stop      context.CancelFunc

	ready   bool          // under the balancer's lock
	leaving bool          // under the balancer's lock: routed to even when its probes fail
	first   chan struct{} // closed when it is ready for the first time
}

// Open listens on a free port and serves until Close.
func Open(o Options, log *timeline.Log) (*Balancer, error) {
	if len(o.Probes) == 0 {
		o.Probes = []string{"/startupz", "/readyz"}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open balancer: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	b := &Balancer{options: o, log: log, addr: l.Addr().String(), stop: stop, closing: ctx.Done(),
		probe: &http.Client{Timeout: probeTimeout, Transport: &http.Transport{}}}
	b.server = &http.Server{
		Handler:           b,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	b.work.Go(func() {
		if err := b.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			b.served = err
		}
	})
	return b, nil
}

// URL is where senders post.
func (b *Balancer) URL() string { return "http://" + b.addr }

// Add puts a replica behind the balancer; it is routed to once its first probe has
// passed and while its last one passes. The channel is closed when it is ready for
// the first time.
func (b *Balancer) Add(replica, public, probe string) <-chan struct{} {
	ctx, stop := context.WithCancel(context.Background())
	back := &backend{
		name:      replica,
		target:    &url.URL{Scheme: "http", Host: public},
		probeURL:  "http://" + probe,
		transport: &http.Transport{MaxIdleConnsPerHost: 256},
		stop:      stop,
		first:     make(chan struct{}),
	}
	back.proxy = b.proxyTo(back)
	b.mu.Lock()
	b.backends = append(b.backends, back)
	b.mu.Unlock()
	b.work.Go(func() { b.watch(ctx, back) })
	return back.first
}

// Leave takes a replica out after the given time, or when ctx ends. Until then
// it is routed to even when its probes fail, because the platform's balancer
// learns late that a replica is leaving.
func (b *Balancer) Leave(ctx context.Context, replica string, after time.Duration) {
	b.mu.Lock()
	for _, back := range b.backends {
		if back.name == replica {
			back.leaving = back.ready
		}
	}
	b.mu.Unlock()
	b.work.Go(func() {
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-b.closing:
		}
		b.remove(replica)
	})
}

func (b *Balancer) remove(replica string) {
	b.mu.Lock()
	var gone *backend
	for i, back := range b.backends {
		if back.name == replica {
			gone = back
			b.backends = append(b.backends[:i:i], b.backends[i+1:]...)
			break
		}
	}
	b.mu.Unlock()
	if gone == nil {
		return
	}
	gone.stop()
	b.log.Add(name, "no longer routes to %s", replica)
}

// Close stops listening, drops every replica and waits.
func (b *Balancer) Close() error {
	err := b.server.Close()
	b.stop()
	b.mu.Lock()
	backends := b.backends
	b.backends = nil
	b.mu.Unlock()
	for _, back := range backends {
		back.stop()
	}
	b.work.Wait()
	b.probe.CloseIdleConnections()
	return errors.Join(err, b.served)
}

// watch polls one replica's probes until ctx ends.
func (b *Balancer) watch(ctx context.Context, back *backend) {
	defer back.transport.CloseIdleConnections()
	tick := time.NewTicker(b.options.ProbeEvery)
	defer tick.Stop()
	paths := b.options.Probes
	for {
		ok := b.passes(ctx, back.probeURL+paths[0])
		if ok && len(paths) > 1 {
			paths = paths[1:]
			ok = b.passes(ctx, back.probeURL+paths[0])
		}
		if ctx.Err() != nil {
			return
		}
		b.mark(back, ok)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (b *Balancer) passes(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := b.probe.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return err == nil && resp.StatusCode >= 200 && resp.StatusCode < 400
}

func (b *Balancer) mark(back *backend, ready bool) {
	b.mu.Lock()
	was := back.ready
	back.ready = ready
	b.mu.Unlock()
	switch {
	case ready && !was:
		b.log.Add(name, "routes to %s", back.name)
		select {
		case <-back.first:
		default:
			close(back.first)
		}
	case was && !ready:
		b.log.Add(name, "finds %s not ready", back.name)
	}
}

// next returns the ready replica whose turn it is, nil when there is none.
func (b *Balancer) next() *backend {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range b.backends {
		b.turn++
		if back := b.backends[b.turn%len(b.backends)]; back.ready || back.leaving {
			return back
		}
	}
	return nil
}

// Route returns the replica whose turn it is and the address of its public listener, for
// a sender that connects to it by itself; false when none is ready.
func (b *Balancer) Route() (replica, public string, ok bool) {
	if back := b.next(); back != nil {
		return back.name, back.target.Host, true
	}
	return "", "", false
}

// ServeHTTP routes one request.
func (b *Balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if b.options.Retries > 0 {
		b.serveWithRetries(w, r)
		return
	}
	back := b.next()
	if back == nil {
		refuse(w, "no healthy upstream")
		return
	}
	back.proxy.ServeHTTP(w, r)
}

// serveWithRetries reads the whole body so that a failed try can be repeated.
func (b *Balancer) serveWithRetries(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "cannot read body", http.StatusBadRequest)
		return
	}
	for left := b.options.Retries; ; left-- {
		back := b.next()
		if back == nil {
			refuse(w, "no healthy upstream")
			return
		}
		try := &attempt{}
		again := r.Clone(context.WithValue(r.Context(), attemptKey{}, try))
		again.Body = io.NopCloser(bytes.NewReader(body))
		if left == 0 {
			try.last = true
		}
		back.proxy.ServeHTTP(w, again)
		if !try.failed || try.last {
			return
		}
	}
}

type attemptKey struct{}

// attempt tells serveWithRetries how a try went.
type attempt struct{ failed, last bool }

func (b *Balancer) proxyTo(back *backend) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport: back.transport,
		ErrorLog:  log.New(io.Discard, "", 0), // the senders' ledger records failures
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(back.target)
			p.Out.Host = p.In.Host
			p.SetXForwarded() // client's address overwritten, as the platform does
			p.Out.Header.Set("X-Forwarded-Proto", "https")
		},
		ModifyResponse: func(resp *http.Response) error {
			resp.Header.Set(ReplicaHeader, back.name)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if try, ok := r.Context().Value(attemptKey{}).(*attempt); ok {
				try.failed = true
				if !try.last {
					return // nothing was written yet: the next try answers
				}
			}
			// The platform's balancer says 503 for a replica that it cannot
			// reach or that resets the connection.
			w.Header().Set(ReplicaHeader, back.name)
			refuse(w, "upstream connect error or disconnect/reset before headers")
		},
	}
}

func refuse(w http.ResponseWriter, reason string) {
	http.Error(w, reason, http.StatusServiceUnavailable)
}
