package ingress

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/sidecar/senders"
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
}

// quiet reports whether a refusal for that reason has its own line elsewhere, or
// is what happens in every deploy.
func (r reason) quiet() bool { return r == full || r == notStored || r == appAway }

// signatureReason maps a verdict of a sender.
func signatureReason(err error) reason {
	switch {
	case errors.Is(err, senders.ErrUnsigned):
		return unsigned
	case errors.Is(err, senders.ErrStale):
		return stale
	}
	return forged
}

// bodyReason maps what ended the reading of a body.
func bodyReason(err error) reason {
	switch {
	case errors.Is(err, errTooLarge):
		return tooLarge
	case errors.Is(err, errNoMemory):
		return noMemory
	case errors.Is(err, os.ErrDeadlineExceeded):
		return slow
	}
	return unreadable
}

// refusals are those of one route and one reason.
type refusals struct {
	count  atomic.Int64
	metric prometheus.Counter
	told   reminder
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
	for _, r := range in.routes {
		for why := range reasons {
			if n := r.refusals[why].count.Load(); n > 0 {
				list = append(list, Refusal{r.pattern(), r.Source, reasonNames[why], n})
			}
		}
	}
	return list
}

// note counts a refusal and tells of it: the first of a route and a reason at
// once, the others together once a minute. A sender that is refused may never
// come again, so nobody else will say so. text says more about the first and
// must not have anything of the request in it.
func (in *Ingress) note(r *route, why reason, text string) {
	of := &r.refusals[why]
	of.count.Add(1)
	of.metric.Inc()
	if why.quiet() {
		return
	}
	of.told.note(func(count int) {
		in.Log.Warn("Webhook refused at the door", "source", r.Source, "path", r.pattern(),
			"reason", reasonNames[why], "err", text, "count", count)
	})
}

// remindEvery is how often one line may tell of what happens again and again.
const remindEvery = time.Minute

// reminder tells of something at once, and of what follows within a minute in
// one line with its number.
type reminder struct {
	mu      sync.Mutex
	until   time.Time // the end of the minute
	uncited int
}

func (m *reminder) note(tell func(count int)) {
	m.mu.Lock()
	now := time.Now()
	alone := !now.Before(m.until) && m.uncited == 0
	if alone {
		m.until = now.Add(remindEvery)
	} else {
		if m.uncited == 0 {
			time.AfterFunc(m.until.Sub(now), func() { m.sum(tell) })
		}
		m.uncited++
	}
	m.mu.Unlock()
	if alone {
		tell(1)
	}
}

// sum tells of those without a line.
func (m *reminder) sum(tell func(count int)) {
	m.mu.Lock()
	n := m.uncited
	m.uncited, m.until = 0, time.Now().Add(remindEvery)
	m.mu.Unlock()
	tell(n)
}
