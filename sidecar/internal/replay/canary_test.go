package replay_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sidecar/internal/metrics"
	"sluice/sidecar/internal/replay"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/internal/webhook"
)

// mending is an app that takes a live webhook while the canary is at it, answers
// the canary with 500, and takes everything from then on.
type mending struct {
	replay *replay.Replay
	single int
}

func (m *mending) Deliver(ctx context.Context, _ *webhook.Webhook, attempt int, p upstream.Policy) upstream.Result {
	done, err := p.Turn(ctx, attempt)
	if err != nil {
		return upstream.Result{Outcome: upstream.Away, Attempt: attempt - 1}
	}
	defer done()
	if !p.Single() {
		return upstream.Result{Outcome: upstream.Delivered, Attempt: attempt}
	}
	m.single++
	m.replay.Answered(200, true)
	return upstream.Result{Outcome: upstream.Refused, Attempt: attempt, Reason: "app answered 500"}
}

// A canary has one try only, and that the breaker closes meanwhile does not make
// it the last one.
func TestOneTryOfACanaryIsNotAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.store.faults = 0
		m := &mending{}
		w.replay = replay.New(replay.Deps{
			Config: replay.Config{Concurrency: 3, BlindAfter: time.Hour, BreakerLimit: time.Hour, Policy: upstream.Policy{MaxAttempts: 10}},
			Store:  w.store, Gate: w.gate, App: m, Healthy: w.healthy.Load, AppDown: w.appDown,
			Metrics: metrics.New(), Log: slog.New(slog.DiscardHandler),
		})
		m.replay = w.replay
		if err := w.store.append("a", 1); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			w.replay.Answered(404, true)
		}
		ctx, cancel := context.WithCancel(t.Context())
		w.set(true, false)
		go w.probe(ctx)
		ended := make(chan struct{})
		go func() { w.replay.Run(ctx); close(ended) }()
		<-time.After(time.Minute)
		cancel()
		<-ended
		if m.single == 0 {
			t.Fatal("there was no canary")
		}
		if got := w.store.rows[0].status; got != "completed" {
			t.Fatalf("the webhook is %s after one try of ten", got)
		}
	})
}
