package supervise

import (
	"context"
	"errors"
	"sync"
	"time"

	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/upstream"
)

// health is what is known of the app.
type health struct {
	probeNow chan struct{}

	mu      sync.Mutex
	healthy bool
	ever    bool // it has been healthy once
	probed  bool
	misses  int // probes in a row that went wrong without a refusal
	falls   int // how often it was found away: an older probe's success counts no more
}

func (h *health) ok() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.healthy
}

func (h *health) everHealthy() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ever
}

func (h *health) name() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.healthy:
		return "healthy"
	case h.probed:
		return "unhealthy"
	}
	return "unknown"
}

// asked is called before a probe; passed wants what it returns.
func (h *health) asked() (falls int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.falls
}

// passed notes a probe that went well. It does not count when the app was found
// away since the probe began. first says that the app was not healthy before.
func (h *health) passed(falls int) (counts, first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probed = true
	if h.falls != falls {
		return false, false
	}
	first = !h.healthy
	h.healthy, h.ever, h.misses = true, true, 0
	return true, first
}

// missed notes a probe that went wrong, and reports whether that is an outage:
// one slow answer of a busy app is none, a refusal is.
func (h *health) missed(err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probed = true
	h.misses++
	return !h.healthy || h.misses >= 2 || !isTimeout(err)
}

// fall notes that the app is away, and reports whether that is new.
func (h *health) fall() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.healthy
	h.healthy = false
	h.falls++
	return was
}

// probeLoop asks for the app's health until ctx ends.
func (r *Replica) probeLoop(ctx context.Context) {
	for wait := time.Duration(0); tick(ctx, wait, r.health.probeNow); {
		r.probe(ctx)
		wait = r.cfg.AppProbeInterval
		if !r.health.ok() {
			wait = r.cfg.AppProbeIntervalOff
		}
	}
}

func (r *Replica) probe(ctx context.Context) {
	falls := r.health.asked()
	err := r.prober.Probe(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		r.metrics.Probes.WithLabelValues("failed").Inc()
		if r.health.missed(err) {
			r.down(err)
		}
		return
	}
	counts, first := r.health.passed(falls)
	if !counts {
		return
	}
	r.metrics.Probes.WithLabelValues("ok").Inc()
	if first {
		r.log.Info("App is healthy", "app", r.cfg.AppURL)
	}
	// Fired on every success: after a resume the state still has to move.
	r.gate.Fire(lifecycle.AppUp)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return !errors.Is(err, upstream.ErrDial) && errors.As(err, &t) && t.Timeout()
}

// appDown is called by whoever could not reach the app: holding starts at once,
// not at the next probe.
func (r *Replica) appDown(err error) {
	r.down(err)
	poke(r.health.probeNow)
}

func (r *Replica) down(err error) {
	was := r.health.fall()
	r.gate.Fire(lifecycle.AppDown)
	if was {
		r.log.Warn("App is away", "err", err)
	}
}

// tick waits for d, a poke, or the end.
func tick(ctx context.Context, d time.Duration, poked <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-poked:
	case <-t.C:
	}
	return true
}
