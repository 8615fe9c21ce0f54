package ingress

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/sidecar/internal/webhook"
	"sluice/sidecar/routes"
)

// route is a configured route with its metrics, which are looked up once.
type route struct {
	*routes.Route
	in                                                  *Ingress
	forwarded, held, late, refused, rejected, handshake prometheus.Counter
	refusals                                            [reasons]refusals
}

func (in *Ingress) indexRoutes(configured []routes.Route) {
	for i := range configured {
		count := func(outcome string) prometheus.Counter {
			return in.Metrics.Webhooks.WithLabelValues(configured[i].Name, outcome)
		}
		r := &route{
			in: in, Route: &configured[i], forwarded: count("forwarded"), held: count("held"), late: count("late"),
			refused: count("refused"), rejected: count("rejected"), handshake: count("handshake"),
		}
		for why := range reasons {
			r.refusals[why].metric = in.Metrics.Refused.WithLabelValues(r.Name, reasonNames[why])
		}
		in.routes = append(in.routes, r)
		if r.Prefix {
			in.prefixes = append(in.prefixes, r)
			continue
		}
		in.exact[r.Path] = r
	}
	slices.SortFunc(in.prefixes, func(a, b *route) int { return len(b.Path) - len(a.Path) })
}

// find returns the route of a path, nil when it has none.
func (in *Ingress) find(path string) *route {
	if r := in.exact[path]; r != nil {
		return r
	}
	for _, r := range in.prefixes {
		if strings.HasPrefix(path, r.Path) {
			return r
		}
	}
	return nil
}

// maxKey bounds a lane's key, which a sender chooses.
const maxKey = 200

// lane returns the lane of a webhook: its route's name, or the name and the key that
// the webhook has.
func (r *route) lane(w *webhook.Webhook) string {
	key := r.Lane.Find(w.Head, w.Body)
	if key == "" {
		return r.Name
	}
	return r.Name + "/" + strings.Map(printable, key[:min(len(key), maxKey)])
}

// printable makes a text of the sender safe for a text column, a log and a metric.
func printable(r rune) rune {
	if r == utf8.RuneError || unicode.IsControl(r) {
		return '?'
	}
	return r
}
