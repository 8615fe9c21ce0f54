package ingress

import (
	"context"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/internal/webhook"
	"sluice/sidecar/internal/wire"
)

// hold stores the webhook and acknowledges it. The gate has already counted it.
func (in *Ingress) hold(ctx context.Context, a *arrival) wire.Reply {
	receipt, ok := in.store(ctx, a, in.Queue.Append)
	if !ok {
		return in.refuse(a, "it can't be stored now")
	}
	a.route.held.Inc()
	in.holds.held(&a.hook, receipt, in.Gate.State())
	in.Kick()
	return heldReply(a.route.Status, a.route.Sender.Traits().HoldBody, receipt.ID)
}

// holdLate stores a webhook that the app has not answered within the sender's
// budget, acknowledges it, and lets the app finish.
func (in *Ingress) holdLate(ctx context.Context, a *arrival, e *upstream.Exchange) wire.Reply {
	a.hook.Attempts = 1
	a.holdBeside()
	in.awaited.add(a.hook.ID)
	receipt, ok := in.store(ctx, a, in.Queue.AppendAwaited)
	if !ok {
		in.awaited.remove(a.hook.ID)
		in.Orphaned() // the row may be there, or appear later
		e.Drop()
		return in.refuse(a, "the app is slow and it can't be stored now")
	}
	a.route.late.Inc()
	in.Log.Warn("App is late, webhook acknowledged and its answer awaited", "source", a.hook.Source,
		"delivery_id", a.hook.DeliveryID, "queue_id", receipt.QueueID, "id", receipt.ID)
	in.late.Add(1)
	go in.awaitLate(e, a.hook.ID, a.hook.Verified != "", receipt, a.handOff())
	return heldReply(a.route.Status, a.route.Sender.Traits().HoldBody, receipt.ID)
}

// awaitLate settles a webhook by the app's late answer.
func (in *Ingress) awaitLate(e *upstream.Exchange, id string, verified bool, receipt buffer.Receipt, leave func()) {
	defer in.late.Done()
	defer leave()
	defer in.awaited.remove(id)
	resp, err := e.Await(time.Now().Add(in.Config.AppAnswerTimeout))
	completed, reason := err == nil && resp.Status/100 == 2, ""
	switch {
	case err != nil:
		reason = err.Error()
	case !completed:
		reason = "app answered late and not with 2xx"
	}
	if err == nil {
		in.Answered(resp.Status, verified)
	}
	e.Drop()
	if receipt.Duplicate {
		return // the row belongs to the first copy; whoever handles that settles it
	}
	// While the database is away the row stays with this replica. If the replica
	// dies, the row returns to pending by itself.
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := in.Queue.SettleAwaited(ctx, receipt.QueueID, completed, reason)
		cancel()
		if err == nil || in.Gate.State() == lifecycle.Stopped {
			in.Kick()
			return
		}
		in.Log.Warn("Late answer can't be recorded yet", "queue_id", receipt.QueueID, "err", err)
		<-time.After(wait)
	}
}

// store appends the webhook to the queue. It returns false when the webhook must
// not be acknowledged; the ticket's end then tells the gate.
func (in *Ingress) store(ctx context.Context, a *arrival, insert func(context.Context, *webhook.Webhook) (buffer.Receipt, error)) (buffer.Receipt, bool) {
	v := in.Vitals()
	if v.Full || v.FullUnverified && a.hook.Verified == "" {
		in.Log.Error("Webhook refused, the queue is at its limit (HOLD_MAX_ROWS, HOLD_MAX_BYTES, HOLD_MAX_UNVERIFIED_BYTES)",
			"source", a.hook.Source, "delivery_id", a.hook.DeliveryID)
		return buffer.Receipt{}, false
	}
	// A sender that hangs up must not undo what may already be committed.
	a.body.Lend() // the buffer may still read it after an error
	receipt, err := insert(context.WithoutCancel(ctx), &a.hook)
	if err != nil {
		in.Log.Error("Webhook refused, it could not be stored", "source", a.hook.Source, "delivery_id", a.hook.DeliveryID, "err", err)
		return buffer.Receipt{}, false
	}
	a.body.Return()
	return receipt, a.stored()
}
