package ingress

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/webhook"
)

func TestAFloodOfHoldsIsSummedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := &holdLog{log: slog.New(slog.NewTextHandler(&out, nil))}
		for range holdLines + 25 {
			l.held(new(webhook.Webhook), buffer.Receipt{QueueID: 1}, lifecycle.Draining)
		}
		<-time.After(2 * time.Second) // the clock of synctest
		synctest.Wait()
		l.held(new(webhook.Webhook), buffer.Receipt{QueueID: 2}, lifecycle.Draining)
		if got := strings.Count(out.String(), heldMessage); got != holdLines+2 {
			t.Errorf("%d lines, want %d, one sum and one of the next second", got, holdLines)
		}
		if !strings.Contains(out.String(), "count=25") || !strings.Contains(out.String(), "queue_id=2") {
			t.Errorf("no sum of the 25 without a line, or none after it:\n%s", out.String()[max(0, out.Len()-400):])
		}
	})
}
