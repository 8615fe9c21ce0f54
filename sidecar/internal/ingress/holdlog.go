package ingress

import (
	"log/slog"
	"sync"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/webhook"
)

// holdLines is how many held webhooks a second get their own log line. In a flood
// the lines would cost more than the holds, so one line counts all others.
const holdLines = 100

// holdLog writes the lines about held webhooks.
type holdLog struct {
	log *slog.Logger

	mu      sync.Mutex
	until   time.Time // the end of the current second
	lines   int
	uncited int
}

const heldMessage = "Webhook queued to PostgreSQL for drain-time replay"

// held logs or counts one webhook. state is the state in which it was stored.
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

// sum writes one line for the webhooks that got none.
func (l *holdLog) sum() {
	l.mu.Lock()
	n := l.uncited
	l.uncited = 0
	l.mu.Unlock()
	l.log.Info(heldMessage, "count", n)
}
