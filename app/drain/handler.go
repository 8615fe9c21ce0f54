package drain

import (
	"encoding/json"
	"net/http"
)

// Requests is the middleware for handlers that take on work: it counts the
// request until the handler returns, and answers 503 with Retry-After once the
// drain has begun. Do not wrap health checks and [Drain.Handler] in it.
func (d *Drain) Requests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leave, ok := d.enter(&d.requests)
		if !ok {
			w.Header().Set("Retry-After", "5")
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"status":"draining"}` + "\n"))
			return
		}
		defer leave()
		next.ServeHTTP(w, r)
	})
}

// Handler answers /drain: POST begins the drain (202, or 200 when it had begun
// already; 401 when Config.Verify returns an error), GET returns [Counts].
// Without Verify everybody who reaches it can stop the program, so do not serve
// it to the outside; Sluice's sidecar never proxies it.
func (d *Drain) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusOK
		switch r.Method {
		case http.MethodGet, http.MethodHead:
		case http.MethodPost:
			if err := d.verified(r); err != nil {
				d.log.Warn("Drain refused, the request is not the sidecar's", "err", err)
				http.Error(w, err.Error(), http.StatusUnauthorized)
				return
			}
			if d.Begin("POST /drain") {
				status = http.StatusAccepted
			}
		default:
			w.Header().Set("Allow", "GET, POST")
			http.Error(w, "use GET or POST", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(d.Counts())
	})
}

func (d *Drain) verified(r *http.Request) error {
	if d.verify == nil {
		return nil
	}
	return d.verify(r)
}
