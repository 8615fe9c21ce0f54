package actions

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"sluice/app/internal/hooks"
	"sluice/app/internal/tracing"
)

// Within one attempt a request is retried after a short wait; for longer waits the
// job is retried.
const (
	quickRetries = 2
	quickWaitMin = 200 * time.Millisecond
	quickWaitMax = 5 * time.Second
	answerBytes  = 1 << 20
)

func newClient() *retryablehttp.Client {
	c := retryablehttp.NewClient()
	c.Logger = nil // the worker logs the outcome
	c.RetryMax, c.RetryWaitMin, c.RetryWaitMax = quickRetries, quickWaitMin, quickWaitMax
	c.CheckRetry = retryQuickly
	c.ErrorHandler = retryablehttp.PassthroughErrorHandler
	// A redirect would turn a POST into a GET or carry the payload to a host
	// that the hook does not name. So it is not followed.
	c.HTTPClient.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

type onceKey struct{}

// sentOnce returns a context for a request that must not be repeated when it may
// have arrived.
func sentOnce(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

// mayHaveArrived reports whether the server may have acted on a request that failed.
func mayHaveArrived(resp *http.Response, err error) bool {
	var dial *net.OpError
	if err != nil {
		return !errors.As(err, &dial) || dial.Op != "dial"
	}
	return resp.StatusCode != http.StatusTooManyRequests
}

// retryQuickly retries failures that may be over in a moment, unless the server
// asks to wait longer than quickWaitMax.
func retryQuickly(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if ctx.Value(onceKey{}) != nil && mayHaveArrived(resp, err) {
		return false, nil
	}
	if err != nil {
		var cert x509.UnknownAuthorityError
		return !errors.As(err, &cert), nil
	}
	if wait, asked := retryAfter(resp, time.Now()); asked && wait > quickWaitMax {
		return false, nil
	}
	return resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= http.StatusInternalServerError, nil
}

// retryAfter returns how long the server asks to wait: Retry-After, or the reset of
// GitHub's rate limit when it is used up.
func retryAfter(resp *http.Response, now time.Time) (time.Duration, bool) {
	switch resp.StatusCode {
	case http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable:
	default:
		return 0, false
	}
	if v := resp.Header.Get("Retry-After"); v != "" {
		if n, err := strconv.Atoi(v); err == nil && n >= 0 {
			return time.Duration(n) * time.Second, true
		}
		if t, err := http.ParseTime(v); err == nil {
			return max(t.Sub(now), 0), true
		}
	}
	if resp.Header.Get("X-Ratelimit-Remaining") == "0" {
		if n, err := strconv.ParseInt(resp.Header.Get("X-Ratelimit-Reset"), 10, 64); err == nil {
			return max(time.Unix(n, 0).Sub(now), time.Second), true
		}
	}
	return 0, false
}

// send sends the request within its host's limit and returns the answer with at
// most answerBytes of its body. An answer outside 2xx is an error.
func (s *Set) send(req *retryablehttp.Request) (answer, error) {
	release, err := s.limits.acquire(req.Context(), req.URL.Host)
	if err != nil {
		return answer{}, err
	}
	defer release()
	resp, err := s.client.Do(req)
	if err != nil {
		if resp != nil {
			_ = resp.Body.Close()
		}
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // without the address, which may hold a secret
		}
		return answer{}, fmt.Errorf("send request to %s: %w", req.URL.Host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerBytes))
	if err != nil {
		return answer{}, fmt.Errorf("read answer: %w", err)
	}
	a := answer{resp.StatusCode, body}
	if resp.StatusCode/100 == 2 {
		return a, nil
	}
	if wait, asked := retryAfter(resp, time.Now()); asked {
		return a, &RetryLater{After: wait, Host: req.URL.Host}
	}
	return a, fmt.Errorf("%s answered %s", req.URL.Host, resp.Status)
}

// runHTTP sends the hook's request, or forwards the webhook as it was received.
func (s *Set) runHTTP(ctx context.Context, h *hooks.HTTP, c Call) (Outcome, error) {
	r := renderer{event: c.Event}
	var body any
	if h.Body != nil {
		body = []byte(r.text(*h.Body))
	} else if h.Method != http.MethodGet {
		body = c.Payload
	}
	target := r.text(h.URL)
	if r.err != nil {
		return Outcome{}, r.err
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, h.Method, target, body)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // without the address, which may hold a secret
		}
		return Outcome{}, fmt.Errorf("make request: %w", err)
	}
	if h.Body == nil {
		forwardFields(req.Header, c.Event.Header, h.Forward)
		req.ContentLength = c.Size
	}
	// The receiver can recognise a repeated request by the id, as the app does.
	req.Header.Set("Sluice-Id", c.Event.ID)
	req.Header.Set("Sluice-Attempt", strconv.Itoa(c.Attempt))
	if parent := tracing.Parent(ctx); parent != "" {
		req.Header.Set("Traceparent", parent)
	}
	for name, t := range h.Headers {
		req.Header.Set(name, r.text(t))
	}
	if r.err != nil {
		return Outcome{}, r.err
	}
	a, err := s.send(req)
	return a.outcome(), err
}

// forwardFields copies the sender's header fields, except those of the connection,
// of proxies, of Sluice, and those with credentials that are not listed.
func forwardFields(to http.Header, from map[string][]string, listed []string) {
	for name, values := range from {
		switch name = http.CanonicalHeaderKey(name); name {
		case "Connection", "Keep-Alive", "Proxy-Authenticate", "Te", "Trailer",
			"Transfer-Encoding", "Upgrade", "Host", "Content-Length", "Accept-Encoding", "Forwarded":
			continue
		}
		if strings.HasPrefix(name, "Sluice-") || strings.HasPrefix(name, "X-Forwarded-") {
			continue
		}
		if isCredential(name) && !slices.ContainsFunc(listed, func(l string) bool { return strings.EqualFold(l, name) }) {
			continue
		}
		to[name] = append([]string(nil), values...)
	}
}

// isCredential reports whether the value of a field is enough to act as the sender
// or as its user. A signature does not: it is good for one body only.
func isCredential(name string) bool {
	name = strings.ToLower(name)
	switch {
	case strings.Contains(name, "signature"):
		return false
	case strings.Contains(name, "authorization"), strings.Contains(name, "cookie"), strings.Contains(name, "token"),
		strings.Contains(name, "secret"), strings.Contains(name, "password"), strings.Contains(name, "api-key"), strings.Contains(name, "apikey"):
		return true
	}
	return false
}

// hostLimits limits the requests under way to one host. Hosts share a fixed number
// of slots, because a template can name any number of hosts.
type hostLimits struct{ slots [256]chan struct{} }

func newHostLimits(n int) *hostLimits {
	l := &hostLimits{}
	for i := range l.slots {
		l.slots[i] = make(chan struct{}, max(n, 1))
	}
	return l
}

func (l *hostLimits) acquire(ctx context.Context, host string) (release func(), err error) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(host))
	slot := l.slots[h.Sum32()%uint32(len(l.slots))]
	select {
	case slot <- struct{}{}:
		return func() { <-slot }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for %s: %w", host, context.Cause(ctx))
	}
}
