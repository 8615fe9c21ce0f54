package sender

import (
	"sync"
	"time"
)

// Webhook is one webhook and every try to post it, as its sender saw it.
type Webhook struct {
	ID       string // also in the body, where the receiver finds it
	Source   string // "github", "slack" or "generic"
	Lane     string // the source, or source/key with several lanes per source
	Delivery string // the sender's own delivery id
	Hash     uint64 // FNV-1a of the body
	Bytes    int
	Direct   bool // posted past the balancer, to time the sidecar
	Tries    []Try
}

// Try is one post of a webhook.
type Try struct {
	Sent, Done time.Time
	Status     int    // 0 when no answer came
	Replica    string // which one answered, "" for the balancer itself
	Held       bool   // the answer said that the sidecar holds it
	SluiceID   string
	Err        string

	retryAfter string
}

// Acknowledged reports whether the try got a 2xx.
func (t Try) Acknowledged() bool { return t.Status >= 200 && t.Status < 300 }

// Acknowledged returns the try that got a 2xx, nil when none did.
func (w *Webhook) Acknowledged() *Try {
	if n := len(w.Tries); n > 0 && w.Tries[n-1].Acknowledged() {
		return &w.Tries[n-1]
	}
	return nil
}

// Ledger records what the senders know. It is safe for concurrent use. The zero value is
// ready.
type Ledger struct {
	mu       sync.Mutex
	webhooks []Webhook
	count    Count
}

// Count sums up the ledger for the progress line.
type Count struct{ Sent, Acknowledged, Refused, Held int }

// add records a webhook whose tries are over.
func (l *Ledger) add(w Webhook) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.webhooks = append(l.webhooks, w)
	l.count.Sent++
	for _, t := range w.Tries {
		switch {
		case !t.Acknowledged():
			l.count.Refused++
		case t.Held:
			l.count.Held++
			fallthrough
		default:
			l.count.Acknowledged++
		}
	}
}

// Count returns the numbers so far.
func (l *Ledger) Count() Count {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// Webhooks returns every webhook whose tries are over by now. The caller must
// not change them.
func (l *Ledger) Webhooks() []Webhook {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.webhooks
}
