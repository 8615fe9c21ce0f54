package ingress

import (
	"net/http"

	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/internal/wire"
	"sluice/sidecar/routes"
	"sluice/sidecar/senders"
)

// ServeHTTP answers every request that is not a webhook: it serves the health
// answers and handshakes by GET, and proxies everything else to the app.
func (in *Ingress) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		switch path := r.URL.Path; {
		case path == "/healthz", path == "/health":
			in.health(w)
			return
		case path != "" && path == in.Config.ReadyPath:
			in.ready(w)
			return
		}
	}
	if asksForDrain(r) { // only the sidecar may send it to the app
		http.NotFound(w, r)
		return
	}
	in.noteRequest()
	route := in.find(r.URL.Path)
	if route != nil {
		if refusal, is := route.barred(wire.Capture(r)); is {
			refusal.WriteHTTP(w)
			return
		}
	}
	switch {
	case route != nil && len(route.Methods) > 0:
		route.wrongMethod(w)
		return
	case route != nil && in.serveHandshake(w, r, route):
		return
	case r.Method == http.MethodPost:
		in.noteUnrouted(r)
	}
	in.forwardGeneral(w, r)
}

// asksForDrain reports whether the app could take the target for /drain.
func asksForDrain(r *http.Request) bool {
	return routes.IsDrain(wire.ReceivedPath(r)) || r.URL.Opaque != "" && routes.IsDrain(r.URL.Opaque)
}

// serveHandshake answers a handshake by GET or OPTIONS while the app is away, and
// reports whether it did.
func (in *Ingress) serveHandshake(w http.ResponseWriter, r *http.Request, route *route) bool {
	if in.Gate.State().Replays() {
		return false
	}
	head := wire.Capture(r)
	answer := handshake(route, senders.Request{Method: r.Method, URL: head.URL(), Header: head})
	if answer == nil {
		return false
	}
	route.handshake.Inc()
	reply := answerReply(*answer)
	reply.WriteHTTP(w)
	return true
}

// forwardGeneral proxies a request that is not a webhook.
func (in *Ingress) forwardGeneral(w http.ResponseWriter, r *http.Request) {
	if !in.Gate.Join() {
		unavailable(w)
		return
	}
	defer in.Gate.Leave()
	// An app may answer before it has read the whole request. An error means that
	// the protocol (HTTP/2) allows it anyway.
	_ = http.NewResponseController(w).EnableFullDuplex()
	in.proxy.ServeHTTP(w, r)
}

// proxyFailed answers a request that the app did not answer.
func (in *Ingress) proxyFailed(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // the client has gone
	}
	if upstream.IsDial(err) {
		in.AppDown(err)
		unavailable(w)
		return
	}
	in.Log.Warn("Request failed at the app", "method", r.Method, "path", r.URL.Path, "err", err)
	http.Error(w, "the app closed the connection before it answered", http.StatusBadGateway)
}

func unavailable(w http.ResponseWriter) {
	reply := wire.RetryLater("the app is away")
	reply.WriteHTTP(w)
}
