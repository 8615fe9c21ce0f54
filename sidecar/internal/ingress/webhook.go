package ingress

import (
	"context"
	"time"

	"github.com/google/uuid"

	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/request"
	"sluice/sidecar/internal/webhook"
	"sluice/sidecar/internal/wire"
	"sluice/sidecar/routes"
	"sluice/sidecar/senders"
)

// Match returns the route of a webhook, so that wire reads it whole.
func (in *Ingress) Match(method, path, received string) wire.Endpoint {
	route := in.find(path)
	if route == nil || !route.Takes(method) || routes.IsDrain(received) {
		return nil
	}
	in.noteRequest()
	return route
}

func (in *Ingress) noteRequest() { in.last.Store(time.Now().UnixNano()) }

// arrival is a webhook that has been read and not yet answered.
type arrival struct {
	ticket
	route *route
	hook  webhook.Webhook
	body  *wire.Body
	sync  bool // the sender needs the app's answer: never held
	retry bool // the sender calls it a repetition of an earlier delivery
	// shake is the answer to a handshake while the app is away, else nil.
	shake *senders.Answer
}

// Serve handles a webhook: it verifies it, asks the gate, and then forwards, holds
// or refuses it.
func (r *route) Serve(ctx context.Context, head request.Head, body *wire.Body) wire.Reply {
	in, now := r.in, time.Now()
	if refusal, is := r.barred(head); is {
		return refusal
	}
	if r.MaxBody > 0 && int64(len(body.Bytes())) > r.MaxBody {
		return r.Refuse(wire.ErrTooLarge)
	}
	a := &arrival{ticket: ticket{gate: in.Gate}, route: r, body: body, sync: r.Sync}
	defer a.end()
	a.hook = webhook.Webhook{Source: r.Name, Head: head, Body: body.Bytes(), ReceivedAt: now.UTC().Truncate(time.Microsecond)} // the precision of PostgreSQL
	if refusal, ok := in.verify(a, now); !ok {
		return refusal
	}
	id, err := uuid.NewV7()
	if err != nil {
		return in.refuse(a, "no random bytes for an id")
	}
	a.hook.ID = id.String()
	deadline := now.Add(r.Budget)
	if a.sync || a.shake != nil {
		return in.answerSync(ctx, a, deadline)
	}
	a.lane = r.lane(&a.hook)
	a.hook.Lane = a.lane
	switch in.decide(ctx, a, now) {
	case gate.Forward:
		return in.forward(ctx, a, deadline)
	case gate.Hold:
		return in.hold(ctx, a)
	}
	return in.refuse(a, "this replica takes no more webhooks")
}

// maxPatience is how long a webhook waits in memory for a lane that is about to
// open. The wait never takes more than a fifth of the sender's budget.
const maxPatience = 500 * time.Millisecond

// decide asks the gate whether to forward, hold or refuse. It waits for a lane that
// is about to open.
func (in *Ingress) decide(ctx context.Context, a *arrival, received time.Time) gate.Verdict {
	patience := received.Add(min(maxPatience, a.route.Budget/5))
	for patient := true; ; patient = ctx.Err() == nil && time.Now().Before(patience) {
		verdict, opened := a.enter(patient)
		if verdict == gate.Wait {
			wait(ctx, opened, patience)
			continue
		}
		if verdict == gate.Forward && a.retry {
			// Its first copy may be on its way to the app. In the queue the two are
			// recognised as one.
			a.divert()
			return gate.Hold
		}
		return verdict
	}
}

func wait(ctx context.Context, opened <-chan struct{}, until time.Time) {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-opened:
	case <-t.C:
	case <-ctx.Done():
	}
}
