package health

// Healthy reports whether the app may be sent webhooks.
func (h *Health) Healthy() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.healthy
}

// EverHealthy reports whether the app has been healthy once.
func (h *Health) EverHealthy() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ever
}

// String returns healthy, unhealthy or unknown, as the health answers say it.
func (h *Health) String() string {
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
func (h *Health) asked() (falls int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.falls
}

// passed notes a probe that succeeded. It does not count when the app was found
// away since the probe began. first says that the app was not healthy before.
func (h *Health) passed(falls int) (counts, first bool) {
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

// missed notes a probe that failed, and reports whether that is an outage: one
// slow answer of a busy app is none, a refusal is.
func (h *Health) missed(err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probed = true
	h.misses++
	return !h.healthy || h.misses >= 2 || !isTimeout(err)
}

// fall notes that the app is away, and reports whether that is new.
func (h *Health) fall() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.healthy
	h.healthy = false
	h.falls++
	return was
}
