package ingress

import (
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"sluice/sidecar/internal/config"
	"sluice/sidecar/internal/webhook"
	"sluice/sidecar/senders"
)

// serveWebhook reads a webhook that came through net/http.
func (in *Ingress) serveWebhook(w http.ResponseWriter, r *http.Request, route *config.Route) {
	started := time.Now()
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(started.Add(in.Config.BodyTimeout))
	b, err := in.memory.read(r.Context(), r.Body, r.ContentLength, in.Config.MaxBodyBytes)
	if err != nil {
		in.badBody(w, route, err)
		return
	}
	defer b.free()
	rc.SetReadDeadline(time.Time{})
	answer := in.take(r.Context(), route, capture(r), b)
	defer answer.end()
	answer.writeHTTP(w)
	in.Metrics.Seconds.Observe(time.Since(started).Seconds())
}

// badBody answers a webhook whose body could not be taken.
func (in *Ingress) badBody(w http.ResponseWriter, route *config.Route, err error) {
	in.Metrics.Webhooks.WithLabelValues(route.Source, "refused").Inc()
	w.Header().Set("Connection", "close")
	switch {
	case errors.Is(err, errTooLarge):
		http.Error(w, "body too large; the limit is MAX_BODY_BYTES", http.StatusRequestEntityTooLarge)
	case errors.Is(err, errNoMemory):
		unavailable(w, "too many webhooks at once")
	case errors.Is(err, os.ErrDeadlineExceeded):
		http.Error(w, "body did not arrive in time", http.StatusRequestTimeout)
	default:
		http.Error(w, "body could not be read", http.StatusBadRequest)
	}
}

// capture takes a request's head. net/http has lost the order of different
// names but keeps that of the values of one name.
func capture(r *http.Request) webhook.Head {
	uri := r.RequestURI
	if uri == "" || uri[0] != '/' {
		uri = r.URL.RequestURI()
	}
	c := webhook.Begin(r.Method, uri, r.Host, r.Header["Connection"])
	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range r.Header[name] {
			c.Field(name, value)
		}
	}
	peer, _, _ := net.SplitHostPort(r.RemoteAddr)
	return c.Finish(peer)
}

// serveHandshake answers a handshake that is no POST while the app is away, and
// reports whether it has.
func (in *Ingress) serveHandshake(w http.ResponseWriter, r *http.Request, route *config.Route) bool {
	if in.Gate.State().Replays() {
		return false
	}
	head := capture(r)
	answer := handshake(route, senders.Request{Method: r.Method, URL: head.URL(), Header: head})
	if answer == nil {
		return false
	}
	in.Metrics.Webhooks.WithLabelValues(route.Source, "handshake").Inc()
	shaken := answerReply(*answer)
	shaken.writeHTTP(w)
	return true
}
