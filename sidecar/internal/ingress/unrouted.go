package ingress

import (
	"net/http"
	"strings"
	"sync"

	"sluice/sidecar/routes"
	"sluice/sidecar/senders"
)

// maxUnrouted bounds the paths that are told of one by one; a stranger can make
// up any number.
const maxUnrouted = 20

// Unrouted are requests that seem to be webhooks and came to a path that is no
// route: they reach the app like a page, and are lost when it is away.
type Unrouted struct {
	Path   string // "" for all that came after the first twenty paths
	Sender string // of the first of them
	Add    string // the setting that would make it a route, "" when its path can't be one
	Count  int64
}

// unrouted notes them.
type unrouted struct {
	mu     sync.Mutex
	list   []*Unrouted // in the order in which they came
	byPath map[string]*Unrouted
}

// Unrouted returns them, in the order in which their paths were first seen.
func (in *Ingress) Unrouted() []Unrouted {
	in.unrouted.mu.Lock()
	defer in.unrouted.mu.Unlock()
	list := make([]Unrouted, 0, len(in.unrouted.list))
	for _, u := range in.unrouted.list {
		list = append(list, *u)
	}
	return list
}

// noteUnrouted looks at a POST that goes to the general lane, and tells the
// operator once a path when a known sender seems to have sent it.
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

// routeFor returns the setting with a route for that path, "" when the notation
// has none.
func routeFor(path, sender, configured string) string {
	if len(path) > maxKey {
		return ""
	}
	item := path + "=" + sender
	parsed, err := routes.Parse(item, func(string) string { return "" })
	if err != nil || len(parsed) != 1 || parsed[0].Path != path || parsed[0].Prefix || strings.Map(printable, path) != path {
		return ""
	}
	return "WEBHOOK_ROUTES=" + strings.TrimRight(strings.TrimSpace(configured), ",") + "," + item
}
