package server

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// check tests something outside the app and caches the result, so that many health
// checks cost one test at a time.
type check struct {
	maxAge, limit time.Duration
	ask           func(context.Context) error

	mu    sync.Mutex // held while asking: callers that wait get the same answer
	asked time.Time
	err   error
}

func newCheck(maxAge, limit time.Duration, ask func(context.Context) error) *check {
	return &check{maxAge: maxAge, limit: limit, ask: ask}
}

// result returns the latest answer, and asks again when it is too old. fresh says
// that this call asked. It takes no context: a caller that hangs up must not
// spoil the answer for the others.
func (c *check) result() (err error, fresh bool) { //nolint:revive // the error is the result here
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asked.IsZero() && time.Since(c.asked) < c.maxAge {
		return c.err, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.limit)
	defer cancel()
	c.err = c.ask(ctx)
	c.asked = time.Now()
	return c.err, true
}

// healthz answers whether the app can take webhooks. While the app drains it is
// 503, so that the sidecar holds webhooks instead of forwarding them.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	err, fresh := s.database.result()
	switch {
	case err != nil:
		if fresh {
			s.log.Error("Health check failed: PostgreSQL unreachable", "err", err)
		}
		answer(w, http.StatusServiceUnavailable, health{"unhealthy", "unreachable"})
	case s.c.Drain.Counts().Draining:
		answer(w, http.StatusServiceUnavailable, health{"draining", "connected"})
	case !s.ready.Load():
		answer(w, http.StatusServiceUnavailable, health{"starting", "connected"})
	default:
		answer(w, http.StatusOK, health{"ok", "connected"})
	}
}

type health struct {
	Status string `json:"status"`
	DB     string `json:"db"`
}

// readiness answers whether GitHub's API is reachable. Without it the app still
// takes webhooks, so it stays ready and says degraded.
func (s *Server) readiness(w http.ResponseWriter, _ *http.Request) {
	err, fresh := s.github.result()
	if err != nil {
		if fresh {
			s.log.Warn("GitHub API not reachable", "err", err)
		}
		answer(w, http.StatusOK, readiness{"degraded", "unreachable"})
		return
	}
	answer(w, http.StatusOK, readiness{"ok", "reachable"})
}

type readiness struct {
	Status string `json:"status"`
	GitHub string `json:"github"`
}

// githubPing asks for the API's rate limits: that request does not count against
// them.
func githubPing(base string) func(context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/rate_limit", nil)
		if err != nil {
			return fmt.Errorf("ask GitHub: %w", err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return fmt.Errorf("ask GitHub: %w", err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode >= http.StatusInternalServerError {
			return fmt.Errorf("ask GitHub: status %d", resp.StatusCode)
		}
		return nil
	}
}
