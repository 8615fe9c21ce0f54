package ingress

import (
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
	refusals                                            *[reasons]refusals
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
