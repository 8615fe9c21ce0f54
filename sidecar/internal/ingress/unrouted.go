package ingress

import (
	"net/http"
	"strings"
	"sync"

	"sluice/sidecar/routes"
	"sluice/sidecar/senders"
)

// maxUnrouted bounds the paths that are listed one by one; a stranger can invent
// any number.
const maxUnrouted = 20

// Unrouted counts requests that look like webhooks but came to a path without a
// route. They are proxied to the app, and are lost while it is away.
type Unrouted struct {
	Path   string // "" for all paths after the first twenty
	Sender string // of the first request
	Add    string // the setting that would add the route, "" when the path can't be one
	Count  int64
}

// unrouted collects them by path.
type unrouted struct {
	mu     sync.Mutex
	list   []*Unrouted // in the order in which they came
	byPath map[string]*Unrouted
}

// Unrouted returns the requests without a route, in the order in which their paths
// were first seen.
func (in *Ingress) Unrouted() []Unrouted {
	in.unrouted.mu.Lock()
	defer in.unrouted.mu.Unlock()
	list := make([]Unrouted, 0, len(in.unrouted.list))
	for _, u := range in.unrouted.list {
		list = append(list, *u)
	}
	return list
}

// noteUnrouted counts a POST without a route if it looks like a known sender's, and
// logs it once per path.
func (in *Ingress) noteUnrouted(r *http.Request) {
	sender, ok := senders.Recognize(r.Header)
	if !ok {
		return
	}
	in.Metrics.Unrouted.WithLabelValues(sender).Inc()
	u, first := in.unrouted.count(r.URL.Path, sender, in.Config.WebhookRoutes)
	if first {
		in.Log.Warn("Webhook came to a path that is no route and is not protected", "path", u.Path, "sender", u.Sender, "add", u.Add)
	}
}

// count counts one request and reports whether it is the first of its path.
func (n *unrouted) count(path, sender, configured string) (u Unrouted, first bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	add := routeFor(path, sender, configured)
	path = strings.Map(printable, path[:min(len(path), maxKey)])
	if n.byPath[path] == nil && len(n.list) >= maxUnrouted {
		path, add = "", ""
	}
	of := n.byPath[path]
	if of == nil {
		of, first = &Unrouted{Path: path, Sender: sender, Add: add}, true
		if n.byPath == nil {
			n.byPath = map[string]*Unrouted{}
		}
		n.byPath[path] = of
		n.list = append(n.list, of)
	}
	of.Count++
	return *of, first
}

// routeFor returns WEBHOOK_ROUTES with a route for that path added, "" when it
// cannot express the path.
func routeFor(path, sender, configured string) string {
	if len(path) > maxKey {
		return ""
	}
	item := path + "=" + sender
	parsed, err := routes.Parse(item, routes.Options{Close: true, Secret: func(string) string { return "" }})
	if err != nil || len(parsed) != 1 || parsed[0].Path != path || parsed[0].Prefix || strings.Map(printable, path) != path {
		return ""
	}
	return "WEBHOOK_ROUTES=" + strings.TrimRight(strings.TrimSpace(configured), ",") + "," + item
}
