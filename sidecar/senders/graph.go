package senders

import (
	"time"

	"github.com/tidwall/gjson"
)

// graph: https://learn.microsoft.com/graph/change-notifications-delivery-webhooks
//
// Microsoft Graph does not sign; it repeats, in every notification, the
// clientState that the subscription was made with. Slow answers get
// notifications delayed, then dropped.
type graph struct{}

func init() { register(graph{}) }

var (
	errGraphUnsigned = unsigned("clientState")
	errGraphMismatch = mismatch("clientState")
)

func (graph) Traits() Traits {
	return Traits{
		Name:          "graph",
		SecretVar:     "GRAPH_CLIENT_STATE",
		Budget:        2500 * time.Millisecond,
		HoldStatus:    202,
		RetriesItself: true,
		OpenHandshake: true,
		Lane:          graphLane,
	}
}

// Verify asks every notification of the batch for its clientState: one that
// carries none would ride in beside one that does.
func (graph) Verify(r Request, secrets []string, _ time.Time) error {
	verdict := errGraphUnsigned
	gjson.GetBytes(r.Body, "value").ForEach(func(_, notification gjson.Result) bool {
		state := notification.Get("clientState")
		switch {
		case state.Type != gjson.String || state.Str == "":
			verdict = errGraphUnsigned
		case !sameAsAny(state.Str, secrets):
			verdict = errGraphMismatch
		default:
			verdict = nil
		}
		return verdict == nil
	})
	return verdict
}

// Identify gives an id to a lone notification only; see meta.
func (graph) Identify(r Request) Identity {
	first := gjson.GetBytes(r.Body, "value.0")
	id := Identity{Event: name(first.Get("changeType").String())}
	if lifecycle := first.Get("lifecycleEvent").String(); lifecycle != "" {
		id.Event = name(lifecycle)
	}
	if gjson.GetBytes(r.Body, "value.#").Int() == 1 {
		id.DeliveryID = name(first.Get("id").String())
	}
	return id
}

// Handshake echoes the token by which Graph checks a URL. A request that also
// brings notifications is none: it would carry them past Verify.
func (graph) Handshake(r Request, _ []string) (Answer, bool) {
	token := queryOf(r).Get("validationToken")
	if token == "" || gjson.GetBytes(r.Body, "value").Exists() {
		return Answer{}, false
	}
	return echo(token), true
}

var graphLane = []string{"value.0.subscriptionId"}
