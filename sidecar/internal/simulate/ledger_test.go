package simulate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// ledger knows of every webhook what its sender and the apps know, and holds the
// promise against it.
type ledger struct {
	line        *timeline
	strict      bool
	maxAttempts int
	db          *database

	mu         sync.Mutex
	hooks      map[string]*entry
	waiting    map[string][]*entry // by scope: acknowledged, not yet taken
	violations []violation
	answers    int // of senders
	again      int // webhooks taken once more
	held       int // acknowledged by the sidecar
}

// entry is one webhook.
type entry struct {
	key, lane string
	sent      time.Time // first
	replicas  map[string]bool
	acked     time.Time
	replica   string // that acknowledged it
	taken     time.Time
	refused   bool // the app has given a final answer
	tries     int  // written to a connection to an app
	announced int  // tries that were recorded before they were made
	failed    bool // a dead letter
	told      bool // that it was out of order
}

// violation is about one webhook, none, or two.
type violation struct{ key, text, other string }

func (l *ledger) violate(key, format string, args ...any) {
	l.line.tell("PROMISE", key, format, args...)
	l.violations = append(l.violations, violation{key: key, text: fmt.Sprintf(format, args...)})
}

func (l *ledger) broken(key, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.violate(key, format, args...)
}

func (l *ledger) get(key string) *entry {
	e := l.hooks[key]
	if e == nil {
		e = &entry{key: key, replicas: map[string]bool{}}
		l.hooks[key] = e
	}
	return e
}

// send notes that the sender hands the webhook to a replica.
func (l *ledger) send(key, lane, replica string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.get(key)
	e.lane = lane
	if e.sent.IsZero() {
		e.sent = time.Now()
	}
	e.replicas[replica] = true
	l.line.tell("sender", key, "sent to %s", replica)
}

// answered notes what the sender was told.
func (l *ledger) answered(key, replica, what string, status int, held bool) {
	stored := status/100 == 2 && l.db.holds(key)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers++
	l.line.tell("sender", key, "%s answers %s", replica, what)
	if status/100 != 2 {
		return
	}
	if held {
		l.held++
	}
	e := l.get(key)
	if e.taken.IsZero() && !stored {
		l.violate(key, "FALSE ACKNOWLEDGEMENT: neither an app nor the database has it")
	}
	if !e.acked.IsZero() {
		return
	}
	e.acked, e.replica = time.Now(), replica
	if e.taken.IsZero() {
		l.waiting[e.lane] = append(l.waiting[e.lane], e)
	}
}

func (l *ledger) laneOf(key string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.get(key).lane
}

// tried notes a request on its way to an app.
func (l *ledger) tried(key string) {
	l.mu.Lock()
	l.get(key).tries++
	l.mu.Unlock()
}

// recorded checks the count of attempts that a replica has written down. A
// careful replica writes one down before it makes it, and may not get so far.
func (l *ledger) recorded(key string, attempts int, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.get(key)
	if strings.HasPrefix(reason, "being tried") {
		e.announced++
	}
	if attempts > e.tries+e.announced {
		l.violate(key, "MISCOUNTED: %d attempts are recorded, %d were made", attempts, e.tries)
	}
}

// arrives notes that an app has the webhook before it, and checks the order.
func (l *ledger) arrives(key, app, how string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.get(key)
	l.line.tell(app, key, "arrives (%s)", how)
	if !b.taken.IsZero() || b.refused || b.told {
		return
	}
	for _, a := range l.waiting[b.lane] {
		if a == b || !a.acked.Before(b.sent) || l.over(a) {
			continue
		}
		if !l.strict && (len(b.replicas) > 1 || !b.replicas[a.replica]) {
			continue
		}
		l.violate(key, "OUT OF ORDER: %s was acknowledged before this one was sent, and the app does not have it yet", a.key)
		l.violations[len(l.violations)-1].other = a.key
		b.told = true
	}
}

// over reports whether the webhook has no place in its lane any more.
func (l *ledger) over(e *entry) bool {
	return !e.taken.IsZero() || e.refused || e.failed || e.tries+e.announced >= l.maxAttempts
}

// takes notes that an app has done with the webhook what it is for.
func (l *ledger) takes(key, app string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.get(key)
	if !e.taken.IsZero() {
		l.again++
		l.line.tell(app, key, "taken once more")
		return
	}
	e.taken = time.Now()
	l.line.tell(app, key, "taken")
	l.waiting[e.lane] = slices.DeleteFunc(l.waiting[e.lane], func(o *entry) bool { return o == e })
}

// refuses notes a final answer.
func (l *ledger) refuses(key, app string, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.get(key).refused = true
	l.line.tell(app, key, "refused with %d", status)
}

// fails notes a dead letter.
func (l *ledger) fails(key string, attempts int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.get(key)
	e.failed = true
	if !e.refused && e.tries+e.announced < l.maxAttempts {
		l.violate(key, "DEAD LETTER: after %d tries, %d are counted and %d allowed, and the app has not refused it", e.tries, attempts, l.maxAttempts)
	}
}

// check is the end: everything acknowledged was delivered.
func (l *ledger) check() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(l.hooks)) {
		if e := l.hooks[key]; !e.acked.IsZero() && e.taken.IsZero() && !e.refused && !e.failed {
			l.violate(key, "LOST: acknowledged by %s and never delivered", e.replica)
		}
	}
}
