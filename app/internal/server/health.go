package server

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// check asks something outside and keeps the answer for a while, so that
// health checks, however many, cost one question at a time.
type check struct {
	keep, limit time.Duration
	ask         func(context.Context) error

	mu    sync.Mutex // held while asking: whoever comes then gets the same answer
	asked time.Time
	err   error
}

func newCheck(keep, limit time.Duration, ask func(context.Context) error) *check {
	return &check{keep: keep, limit: limit, ask: ask}
}

// result returns the latest answer, asking anew when it is too old. fresh says
// that this call asked. One caller that hangs up must not spoil the answer for
// the others, so the question does not depend on its context.
func (c *check) result() (err error, fresh bool) { //nolint:revive // the error is the result here
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asked.IsZero() && time.Since(c.asked) < c.keep {
		return c.err, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.limit)
	defer cancel()
	c.err = c.ask(ctx)
	c.asked = time.Now()
	return c.err, true
}

// healthz says whether the app can take webhooks. While it drains the answer
// is 503, so that the sidecar holds webhooks instead of offering them.
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

// readiness says whether GitHub's API answers. Without it webhooks are still
// taken, so the app stays ready, only degraded.
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

// githubPing asks for the API's rate limits, which costs none.
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
