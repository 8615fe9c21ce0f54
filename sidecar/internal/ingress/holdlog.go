package ingress

import (
	"log/slog"
	"sync"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/webhook"
)

// holdLines is how many held webhooks a second have a log line of their own.
// In a flood the lines would cost more than the holds; the others are counted
// together in one.
const holdLines = 100

// holdLog writes the lines about held webhooks.
type holdLog struct {
	log *slog.Logger

	mu      sync.Mutex
	until   time.Time // the end of the second that is counted
	lines   int
	uncited int
}

const heldMessage = "Webhook queued to PostgreSQL for drain-time replay"

// held notes one webhook, which was stored in that state.
func (l *holdLog) held(w *webhook.Webhook, r buffer.Receipt, state lifecycle.State) {
	l.mu.Lock()
	now := time.Now()
	if now.After(l.until) {
		l.until, l.lines = now.Add(time.Second), 0
	}
	l.lines++
	alone := l.lines <= holdLines
	if !alone {
		if l.uncited == 0 {
			time.AfterFunc(time.Until(l.until), l.sum)
		}
		l.uncited++
	}
	l.mu.Unlock()
	if alone {
		l.log.Info(heldMessage, "source", w.Source, "state", state.String(),
			"delivery_id", w.DeliveryID, "queue_id", r.QueueID, "id", r.ID, "duplicate", r.Duplicate)
	}
}

// sum writes the line about those without one.
func (l *holdLog) sum() {
	l.mu.Lock()
	n := l.uncited
	l.uncited = 0
	l.mu.Unlock()
	l.log.Info(heldMessage, "count", n)
}
