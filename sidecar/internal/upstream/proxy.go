package upstream

import (
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"sluice/sidecar/internal/request"
)

// IsDial reports whether a request failed before anything was sent.
func IsDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// Proxy returns the handler of requests that are not webhooks: it sends every
// request to the app unchanged and streams its answer back (also SSE, WebSocket
// and gRPC over h2c). failed is called with the error when the app can't be
// reached or breaks off before its answer, and answers in its place.
func (c *Client) Proxy(log *slog.Logger, failed func(http.ResponseWriter, *http.Request, error)) http.Handler {
	plain := &http.Transport{
		DialContext:         c.dial.DialContext,
		MaxIdleConnsPerHost: c.cfg.MaxIdle,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true, // the sender's Accept-Encoding decides
	}
	h2c := plain.Clone()
	h2c.Protocols = new(http.Protocols)
	h2c.Protocols.SetUnencryptedHTTP2(true)
	return &httputil.ReverseProxy{
		Transport: byProtocol{plain: plain, h2c: h2c},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", c.addr
			r.Out.Host = r.In.Host
			r.Out.URL.RawQuery = r.In.URL.RawQuery // also a query that Go can't parse
			for name := range r.Out.Header {
				if request.Reserved(name) {
					delete(r.Out.Header, name)
				}
			}
			forwarded(r)
		},
		ErrorHandler: failed,
		ErrorLog:     quiet(log),
	}
}

// byProtocol sends gRPC as HTTP/2, which it requires, and everything else as
// HTTP/1.1, which every app speaks.
type byProtocol struct{ plain, h2c http.RoundTripper }

func (t byProtocol) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		return t.h2c.RoundTrip(r)
	}
	return t.plain.RoundTrip(r)
}

// forwarded appends the peer to X-Forwarded-For. It passes on X-Forwarded-Proto and
// -Host as received, or sets them. (ReverseProxy has removed all three.)
func forwarded(r *httputil.ProxyRequest) {
	in, out := r.In.Header, r.Out.Header
	chain := in.Values("X-Forwarded-For")
	if host, _, err := net.SplitHostPort(r.In.RemoteAddr); err == nil {
		chain = append(chain[:len(chain):len(chain)], host)
	}
	if len(chain) > 0 {
		out.Set("X-Forwarded-For", strings.Join(chain, ", "))
	}
	pass := func(name, otherwise string) {
		if vs := in.Values(name); len(vs) > 0 {
			out[name] = vs
			return
		}
		out.Set(name, otherwise)
	}
	pass("X-Forwarded-Proto", "http")
	pass("X-Forwarded-Host", r.In.Host)
}

func quiet(l *slog.Logger) *log.Logger {
	return slog.NewLogLogger(l.Handler(), slog.LevelDebug)
}
