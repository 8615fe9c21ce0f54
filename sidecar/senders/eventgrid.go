package senders

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// eventgrid: https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema
//
// Event Grid does not sign. The secret is a token that the operator puts into
// the endpoint's query (?token= or ?code=) or into a delivery property named
// Authorization. It delivers in its own schema or as CloudEvents and retries for a
// day, unless the status is final: https://learn.microsoft.com/azure/event-grid/delivery-and-retry
type eventgrid struct{}

func init() { register(eventgrid{}) }

func (eventgrid) Traits() Traits {
	return Traits{
		Name:          "eventgrid",
		SecretVar:     "EVENTGRID_TOKEN",
		Budget:        20 * time.Second,
		HoldStatus:    202,
		RetriesItself: true,
		OpenHandshake: true,
		Marks:         eventgridMarks,
		Lane:          eventgridLane,
		Final:         eventgridFinal,
		Refuse:        503,
	}
}

var (
	eventgridMarks = []string{"Aeg-Event-Type"}
	// The last two are those of namespace topics that push.
	eventgridFinal = []string{"400", "401", "403", "413", "404", "414"}
)

func (eventgrid) Verify(r Request, secrets []string, _ time.Time) error {
	return verifyToken(r, secrets, "token", "code")
}

func (eventgrid) Identify(r Request) Identity {
	attempts := r.Header.Get("Aeg-Delivery-Count")
	retry := attempts != "" && attempts != "0"
	if isCloudEvent(r.Header) {
		id := cloudevents{}.Identify(r)
		id.Retry = retry
		return id
	}
	id := Identity{Event: text(r.Body, "0.eventType"), Retry: retry}
	if gjson.GetBytes(r.Body, "#").Int() == 1 {
		id.DeliveryID = text(r.Body, "0.id")
	}
	return id
}

func isCloudEvent(h Header) bool {
	return strings.HasPrefix(mediaType(h), "application/cloudevents") || h.Get("Ce-Id") != ""
}

// Handshake returns the validation code, which comes in Event Grid's own schema
// as the only event of its request; CloudEvents subscriptions ask with OPTIONS.
func (eventgrid) Handshake(r Request, secrets []string) (Answer, bool) {
	if r.Method == "OPTIONS" {
		return cloudevents{}.Handshake(r, secrets)
	}
	if r.Header.Get("Aeg-Event-Type") != "SubscriptionValidation" || gjson.GetBytes(r.Body, "#").Int() != 1 ||
		text(r.Body, "0.eventType") != "Microsoft.EventGrid.SubscriptionValidationEvent" {
		return Answer{}, false
	}
	body, err := json.Marshal(map[string]string{
		"validationResponse": gjson.GetBytes(r.Body, "0.data.validationCode").String(),
	})
	if err != nil {
		return notNow, true
	}
	return Answer{Status: 200, ContentType: "application/json", Body: body}, true
}

var eventgridLane = []string{"0.topic", "source"}
