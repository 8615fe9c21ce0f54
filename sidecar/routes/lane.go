package routes

import (
	"errors"
	"net/url"
	"strings"

	"github.com/tidwall/gjson"

	"sluice/sidecar/senders"
)

// LaneKey says where a webhook has the key of its lane: the first of these places
// that has one counts. A place is a JSON path in the body (repository.full_name),
// header:NAME or form:NAME.
type LaneKey []string

// NoLaneKey is written in place of a key for one lane for all of a route.
const NoLaneKey = "-"

// naturalLanes are the keys by which senders themselves divide what they send.
var naturalLanes = map[string]LaneKey{
	"github":      {"repository.full_name"},
	"slack":       {"team_id"},
	"stripe":      {"account"},
	"gitlab":      {"project.path_with_namespace"},
	"shopify":     {"header:X-Shopify-Shop-Domain"},
	"twilio":      {"form:AccountSid"},
	"cloudevents": {"header:Ce-Source", "source"},
	"eventgrid":   {"0.topic", "source"},
	"graph":       {"value.0.subscriptionId"},
	"meta":        {"entry.0.id"},
	"zoom":        {"payload.account_id"},
}

// naturalLane returns the sender's own key: the one that it declares, or the one
// known for it here.
func naturalLane(s senders.Sender) LaneKey {
	if declares, ok := s.(interface{ LaneKey() []string }); ok {
		return declares.LaneKey()
	}
	return naturalLanes[s.Traits().Name]
}

// ParseLaneKey reads one place, or NoLaneKey.
func ParseLaneKey(text string) (LaneKey, error) {
	kind, name, _ := strings.Cut(text, ":")
	switch {
	case text == NoLaneKey:
		return nil, nil
	case text == "", (kind == "header" || kind == "form") && name == "":
		return nil, errors.New("lane key must be a JSON path, header:NAME, form:NAME or " + NoLaneKey)
	}
	return LaneKey{text}, nil
}

// Find returns the key of a webhook, "" when it has none.
func (k LaneKey) Find(h senders.Header, body []byte) string {
	for _, place := range k {
		if key := find(place, h, body); key != "" {
			return key
		}
	}
	return ""
}

func find(place string, h senders.Header, body []byte) string {
	if name, ok := strings.CutPrefix(place, "header:"); ok {
		return h.Get(name)
	}
	if name, ok := strings.CutPrefix(place, "form:"); ok {
		form, _ := url.ParseQuery(string(body)) // what it could read is enough
		return form.Get(name)
	}
	return gjson.GetBytes(body, place).String()
}
