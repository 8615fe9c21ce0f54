package ingress

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/sidecar/routes"
)

// table is the routes in force. It is replaced whole, never changed.
type table struct {
	routes   []*route // as configured
	exact    map[string]*route
	prefixes []*route // longest first
}

// SetRoutes replaces the routes. Webhooks under way end with those they began with.
// A route that stays keeps the count of what it has refused.
func (in *Ingress) SetRoutes(configured []routes.Route) {
	before, t := in.table.Load(), &table{exact: map[string]*route{}}
	for i := range configured {
		r := in.newRoute(&configured[i], before)
		t.routes = append(t.routes, r)
		if r.Prefix {
			t.prefixes = append(t.prefixes, r)
			continue
		}
		t.exact[r.Path] = r
	}
	slices.SortFunc(t.prefixes, func(a, b *route) int { return len(b.Path) - len(a.Path) })
	in.table.Store(t)
}

func (in *Ingress) newRoute(configured *routes.Route, before *table) *route {
	count := func(outcome string) prometheus.Counter {
		return in.Metrics.Webhooks.WithLabelValues(configured.Name, outcome)
	}
	r := &route{
		in: in, Route: configured, forwarded: count("forwarded"), held: count("held"), late: count("late"),
		refused: count("refused"), rejected: count("rejected"), handshake: count("handshake"),
	}
	if before != nil {
		for _, old := range before.routes {
			if old.Name == r.Name && old.Pattern() == r.Pattern() {
				r.refusals = old.refusals
				return r
			}
		}
	}
	r.refusals = new([reasons]refusals)
	for why := range reasons {
		r.refusals[why].metric = in.Metrics.Refused.WithLabelValues(r.Name, reasonNames[why])
	}
	return r
}

// find returns the route of a path, nil when it has none.
func (t *table) find(path string) *route {
	if r := t.exact[path]; r != nil {
		return r
	}
	for _, r := range t.prefixes {
		if strings.HasPrefix(path, r.Path) {
			return r
		}
	}
	return nil
}

func (in *Ingress) find(path string) *route { return in.table.Load().find(path) }
