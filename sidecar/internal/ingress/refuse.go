package ingress

import (
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/reminder"
	"sluice/sidecar/internal/wire"
)

// reason says why a webhook was refused. The set is fixed: the names are labels
// of a metric and keys in the status.
type reason int

const (
	unsigned reason = iota
	forged
	stale
	tooLarge
	slow
	unreadable
	malformed
	noMemory
	full
	notStored
	appAway
	closed
	noSecret
	network
	reasons // how many there are
)

var reasonNames = [reasons]string{
	unsigned:   "signature_missing",
	forged:     "signature_wrong",
	stale:      "signature_old",
	tooLarge:   "body_too_large",
	slow:       "body_slow",
	unreadable: "body_broken",
	malformed:  "malformed",
	noMemory:   "no_memory",
	full:       "queue_full",
	notStored:  "not_stored",
	appAway:    "app_away",
	closed:     "not_accepting",
	noSecret:   "no_secret",
	network:    "network",
}

// quiet reports whether a refusal for that reason is not logged here: it has its
// own log line elsewhere, or happens in every deploy.
func (r reason) quiet() bool { return r == full || r == notStored || r == appAway }

// bodyReason maps the error of reading a request to a reason.
func bodyReason(err error) reason {
	switch {
	case errors.Is(err, wire.ErrTooLarge):
		return tooLarge
	case errors.Is(err, wire.ErrNoMemory):
		return noMemory
	case errors.Is(err, wire.ErrSlow):
		return slow
	case errors.Is(err, wire.ErrMalformed):
		return malformed
	}
	return unreadable
}

// refusals counts the refusals of one route for one reason.
type refusals struct {
	count  atomic.Int64
	metric prometheus.Counter
	told   reminder.Reminder
}

// Refusal is how often a route has refused webhooks for one reason.
type Refusal struct {
	Route  string // as in WEBHOOK_ROUTES: "/hooks/*"
	Source string
	Reason string
	Count  int64
}

// Refusals returns what was refused since the replica started, in the order of
// the routes.
func (in *Ingress) Refusals() []Refusal {
	list := []Refusal{}
	for _, r := range in.table.Load().routes {
		for why := range reasons {
			if n := r.refusals[why].count.Load(); n > 0 {
				list = append(list, Refusal{r.Pattern(), r.Name, reasonNames[why], n})
			}
		}
	}
	return list
}

// noteRefusal counts a refusal and logs it: the first of a route and reason at
// once, the others together once a minute. A refused sender may never come back,
// so this may be the only trace of it. text explains the first one and must not
// contain anything of the request.
func (in *Ingress) noteRefusal(r *route, why reason, text string) {
	of := &r.refusals[why]
	of.count.Add(1)
	of.metric.Inc()
	if why.quiet() {
		return
	}
	of.told.Note(func(count int) {
		in.Log.Warn("Webhook refused at the door", "source", r.Name, "path", r.Pattern(),
			"reason", reasonNames[why], "err", text, "count", count)
	})
}

// Refuse answers a webhook that could not be read.
func (r *route) Refuse(err error) wire.Reply {
	why := bodyReason(err)
	r.refused.Inc()
	r.in.noteRefusal(r, why, err.Error())
	switch {
	case why == tooLarge:
		return wire.Text(http.StatusRequestEntityTooLarge, "body too large; the limit is MAX_BODY_BYTES, or the route's own")
	case why == noMemory:
		return wire.RetryLater("too many webhooks at once")
	case why == slow:
		return wire.Text(http.StatusRequestTimeout, "body came too slowly; the limits are BODY_MIN_RATE and BODY_TIMEOUT")
	case why == malformed:
		return wire.Text(http.StatusBadRequest, "request could not be sent on as it is")
	}
	return wire.Text(http.StatusBadRequest, "body could not be read")
}

// refuse answers a webhook that can neither be forwarded nor held.
func (in *Ingress) refuse(a *arrival, why string) wire.Reply {
	v := in.Vitals()
	switch {
	case in.Gate.State() == lifecycle.Stopped || !in.Gate.Permitted():
		return in.refuseFor(a, closed, why)
	case v.Full || v.FullUnverified && a.hook.Verified == "":
		return in.refuseFor(a, full, why)
	}
	return in.refuseFor(a, notStored, why)
}

// noSecretText tells an operator who looks at a sender's list of deliveries.
const noSecretText = "this route has no secret yet"

// refuseUnsecured answers a webhook to a closed route: nobody can say whether it is
// genuine, and a sender that tries again finds the route open once it has a secret.
func (r *route) refuseUnsecured() wire.Reply {
	r.refused.Inc()
	r.in.noteRefusal(r, noSecret, noSecretText)
	return wire.RetryLater(noSecretText)
}

func (in *Ingress) refuseFor(a *arrival, r reason, why string) wire.Reply {
	a.route.refused.Inc()
	in.noteRefusal(a.route, r, why)
	return wire.RetryLater(why)
}
