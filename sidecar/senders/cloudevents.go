package senders

import (
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// cloudevents: https://github.com/cloudevents/spec, its HTTP binding and its
// webhook specification.
//
// The secret is a token, sent in Authorization or, where a sender can set no
// field, in the query. It says who may send, nothing about the body.
type cloudevents struct{}

func init() { register(cloudevents{}) }

var (
	errTokenMissing  = unsigned("Authorization")
	errTokenMismatch = mismatch("the token")
)

func (cloudevents) Traits() Traits {
	return Traits{
		Name:          "cloudevents",
		SecretVar:     "CLOUDEVENTS_TOKEN",
		Budget:        8 * time.Second,
		HoldStatus:    202,
		RetriesItself: true,
		OpenHandshake: true,
		Marks:         cloudeventsMarks,
		Lane:          cloudeventsLane,
		SharedMarks:   true,
	}
}

var cloudeventsMarks = []string{"Ce-Specversion"}

func (cloudevents) Verify(r Request, secrets []string, _ time.Time) error {
	return verifyToken(r, secrets, "access_token")
}

// verifyToken checks a bearer token, in Authorization or in one of the named
// query parameters.
func verifyToken(r Request, secrets []string, parameters ...string) error {
	if repeated(r.Header, "Authorization") {
		return errRepeated
	}
	token := r.Header.Get("Authorization")
	if scheme, value, ok := strings.Cut(token, " "); ok && strings.EqualFold(scheme, "Bearer") {
		token = value
	}
	if token == "" && strings.Contains(r.URL, "?") {
		query := queryOf(r)
		for _, parameter := range parameters {
			if token == "" {
				token = query.Get(parameter)
			}
		}
	}
	switch {
	case token == "":
		return errTokenMissing
	case !sameAsAny(token, secrets):
		return errTokenMismatch
	default:
		return nil
	}
}

// Identify reads all three modes: fields ("binary"), one JSON object
// ("structured") and a JSON array ("batched"), which has no id of its own.
func (cloudevents) Identify(r Request) Identity {
	switch mediaType(r.Header) {
	case "application/cloudevents+json":
		event := gjson.ParseBytes(r.Body)
		return identifyCloudEvent(event.Get("source").String(), event.Get("id").String(), event.Get("type").String())
	case "application/cloudevents-batch+json":
		first := gjson.GetBytes(r.Body, "0")
		if gjson.GetBytes(r.Body, "#").Int() != 1 {
			return Identity{Event: name(first.Get("type").String())}
		}
		return identifyCloudEvent(first.Get("source").String(), first.Get("id").String(), first.Get("type").String())
	default:
		return identifyCloudEvent(r.Header.Get("Ce-Source"), r.Header.Get("Ce-Id"), r.Header.Get("Ce-Type"))
	}
}

// identifyCloudEvent joins id and source: an id is unique within its source only.
func identifyCloudEvent(source, id, kind string) Identity {
	if id != "" {
		id += "@" + source
	}
	return Identity{DeliveryID: name(id), Event: name(kind)}
}

// Handshake permits the origin that asks, at the rate it asks for. What then
// comes is still checked.
func (cloudevents) Handshake(r Request, _ []string) (Answer, bool) {
	origin := r.Header.Get("Webhook-Request-Origin")
	if r.Method != "OPTIONS" || origin == "" {
		return Answer{}, false
	}
	rate := r.Header.Get("Webhook-Request-Rate")
	if rate == "" {
		rate = "*"
	}
	return Answer{Status: 200, Header: map[string]string{
		"Allow":                  "POST",
		"WebHook-Allowed-Origin": origin,
		"WebHook-Allowed-Rate":   rate,
	}}, true
}

var cloudeventsLane = []string{"header:Ce-Source", "source"}
