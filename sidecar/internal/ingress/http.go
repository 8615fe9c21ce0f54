package ingress

import (
	"bufio"
	"net"
	"net/http"
	"slices"
	"time"

	"sluice/sidecar/internal/webhook"
	"sluice/sidecar/senders"
)

// serveWebhook reads a webhook that came through net/http.
func (in *Ingress) serveWebhook(w http.ResponseWriter, r *http.Request, route *route) {
	started := time.Now()
	head := capture(r)
	if err := head.Check(); err != nil { // HTTP/2 lets a target with a space through
		route.refused.Inc()
		in.note(route, malformed, err.Error())
		http.Error(w, "request could not be sent on as it is", http.StatusBadRequest)
		return
	}
	rc := http.NewResponseController(w)
	b, err := in.readBody(r, rc, started)
	if err != nil {
		refusal := in.bodyReply(route, err)
		w.Header().Set("Connection", "close")
		expects := r.Header.Get("Expect") != "" && r.ContentLength > in.Config.MaxBodyBytes
		if r.ProtoMajor > 1 || expects { // the sender can be told to stop, or has not begun
			refusal.writeHTTP(w)
			return
		}
		_ = rc.EnableFullDuplex() // HTTP/1.1 always can
		refusal.writeHTTP(w)
		rc.Flush()
		in.linger(r.Body, rc.SetReadDeadline)
		return
	}
	defer b.free()
	rc.SetReadDeadline(time.Time{})
	answer := in.take(r.Context(), route, head, b)
	defer answer.end()
	answer.writeHTTP(w)
	in.Metrics.Seconds.Observe(time.Since(started).Seconds())
}

// readBody reads by the same means as the fast loop.
func (in *Ingress) readBody(r *http.Request, rc *http.ResponseController, started time.Time) (*body, error) {
	br := readers.Get().(*bufio.Reader)
	br.Reset(r.Body)
	defer func() {
		br.Reset(nil)
		readers.Put(br)
	}()
	p := in.pace(rc, started)
	return in.memory.read(r.Context(), br, &p, r.ContentLength, in.Config.MaxBodyBytes)
}

// bodyReply answers a webhook whose body could not be taken. The connection is
// of no use after it: what is left of the body is unread.
func (in *Ingress) bodyReply(route *route, err error) reply {
	why := bodyReason(err)
	route.refused.Inc()
	in.note(route, why, err.Error())
	switch {
	case why == tooLarge:
		return textReply(http.StatusRequestEntityTooLarge, "body too large; the limit is MAX_BODY_BYTES")
	case why == noMemory:
		return retryLater("too many webhooks at once")
	case why == slow:
		return textReply(http.StatusRequestTimeout, "body came too slowly; the limits are BODY_MIN_RATE and BODY_TIMEOUT")
	}
	return textReply(http.StatusBadRequest, "body could not be read")
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
func (in *Ingress) serveHandshake(w http.ResponseWriter, r *http.Request, route *route) bool {
	if in.Gate.State().Replays() {
		return false
	}
	head := capture(r)
	answer := handshake(route, senders.Request{Method: r.Method, URL: head.URL(), Header: head})
	if answer == nil {
		return false
	}
	route.handshake.Inc()
	shaken := answerReply(*answer)
	shaken.writeHTTP(w)
	return true
}
