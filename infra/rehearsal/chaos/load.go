package chaos

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sluice/infra/rehearsal/sender"
)

const (
	senderLimit  = 10 * time.Second // as GitHub waits; here every sender does
	mostTries    = 10
	retryPause   = time.Second // after a refusal that names no time
	longestPause = 5 * time.Second
	// behind is how many seconds of webhooks a delayed sender still sends later.
	// It skips the ones before that.
	behind = 5 * time.Second
)

// router chooses the replica for the next webhook.
type router interface {
	Route() (replica, public string, ok bool)
}

// load is all senders of a run and their ledger.
type load struct {
	lanes   []lane
	perLane int
	rate    int
	bytes   int
	seed    uint64
	router  router
	client  *client

	sent, acknowledged, held, refused atomic.Int64

	mu     sync.Mutex
	ledger []sender.Webhook
}

func newLoad(c Config, r router) *load {
	l := &load{perLane: c.PerLane, rate: c.Rate, bytes: c.Bytes, seed: c.Seed, router: r, client: &client{idle: map[string][]*conn{}}}
	for i := range kinds {
		for n := range c.Lanes {
			l.lanes = append(l.lanes, lane{&kinds[i], "lane-" + strconv.Itoa(n)})
		}
	}
	return l
}

// run sends until ctx ends and every webhook sent by then is acknowledged or given
// up.
func (l *load) run(ctx context.Context) {
	senders := len(l.lanes) * l.perLane
	interval := time.Duration(senders) * time.Second / time.Duration(l.rate)
	var work sync.WaitGroup
	start := time.Now()
	for i := range senders {
		due := start.Add(interval * time.Duration(i) / time.Duration(senders))
		work.Go(func() { l.send(ctx, i, due, interval) })
	}
	work.Wait()
}

// send is one sender: its next webhook goes out when the last one is answered.
func (l *load) send(ctx context.Context, number int, due time.Time, interval time.Duration) {
	r := rand.New(rand.NewPCG(l.seed, uint64(number)))
	var mine []sender.Webhook
	for n := 0; sender.Pause(ctx, time.Until(due)); n++ {
		lane := l.lanes[number%len(l.lanes)]
		w, q := compose(lane, strconv.Itoa(number)+"-"+strconv.Itoa(n), draw(r, l.bytes))
		l.deliver(ctx, lane.kind, &w, q)
		mine = append(mine, w)
		if due = due.Add(interval); time.Since(due) > behind {
			due = time.Now().Add(-behind)
		}
	}
	l.record(mine)
}

func (l *load) record(webhooks []sender.Webhook) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ledger = append(l.ledger, webhooks...)
}

// deliver posts one webhook until it is acknowledged or given up. It tries again
// even after the end of the run's sending.
func (l *load) deliver(ctx context.Context, k *kind, w *sender.Webhook, q request) {
	l.sent.Add(1)
	for {
		replica, addr, ok := l.router.Route()
		try, after := sender.Try{Sent: time.Now(), Status: 503}, ""
		if ok {
			try, after = l.try(replica, addr, q)
		} else {
			try.Done = time.Now() // the balancer itself refuses
		}
		l.count(try)
		w.Tries = append(w.Tries, try)
		if try.Acknowledged() || !k.retries || len(w.Tries) >= mostTries {
			return
		}
		wait := longestPause
		if seconds, err := strconv.Atoi(after); err != nil {
			wait = retryPause
		} else if seconds >= 0 {
			wait = min(wait, time.Duration(seconds)*time.Second)
		}
		sender.Pause(context.WithoutCancel(ctx), wait)
	}
}

// try makes one try at a replica. It waits for the answer even when the run ends:
// a webhook with an unknown outcome proves nothing.
func (l *load) try(replica, addr string, q request) (t sender.Try, retryAfter string) {
	t = sender.Try{Replica: replica, Sent: time.Now()}
	a, err := l.client.post(addr, q, t.Sent.Add(senderLimit))
	t.Done = time.Now()
	if err != nil {
		t.Err = err.Error()
		return t, ""
	}
	t.Status, t.Held, t.SluiceID = a.status, a.held, a.sluiceID
	return t, a.retryAfter
}

func (l *load) count(t sender.Try) {
	switch {
	case !t.Acknowledged():
		l.refused.Add(1)
	case t.Held:
		l.held.Add(1)
		fallthrough
	default:
		l.acknowledged.Add(1)
	}
}

// webhooks returns the ledger. run must have returned.
func (l *load) webhooks() []sender.Webhook {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ledger
}
