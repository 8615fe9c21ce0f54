package senders

import (
	"github.com/tidwall/gjson"
)

// meta: https://developers.facebook.com/docs/graph-api/webhooks/getting-started
// (WhatsApp, Messenger, Instagram).
//
// The URL is checked with a GET that carries a verify token of the operator's
// own, which has nothing to do with the app secret that signs the deliveries.
type meta struct{ *declared }

func init() { extend("meta", func(s Sender) Sender { return meta{s.(*declared)} }) }

// Traits adds to those of the scheme what the check of the URL needs.
func (m meta) Traits() Traits {
	t := m.declared.traits
	t.HandshakeVar, t.OpenHandshake = "META_VERIFY_TOKEN", true
	return t
}

// Identify gives an id only to a delivery of one message or one status: a batch
// has none, and the id of its first part would make it look like a copy of
// another batch. A message has one id through all its statuses, so theirs is
// part of it.
func (meta) Identify(r Request) Identity {
	id := Identity{Event: text(r.Body, "object")}
	entries := gjson.GetBytes(r.Body, "entry").Array()
	if len(entries) != 1 {
		return id
	}
	if field := entries[0].Get("changes.0.field").String(); field != "" {
		id.Event = name(id.Event + "." + field)
	}
	id.DeliveryID = whatsappID(entries[0])
	if id.DeliveryID == "" && entries[0].Get("messaging.#").Int() == 1 {
		id.DeliveryID = name(entries[0].Get("messaging.0.message.mid").String())
	}
	return id
}

func whatsappID(entry gjson.Result) string {
	if entry.Get("changes.#").Int() != 1 {
		return ""
	}
	messages, statuses := entry.Get("changes.0.value.messages"), entry.Get("changes.0.value.statuses")
	switch n, m := messages.Get("#").Int(), statuses.Get("#").Int(); {
	case n == 1 && m == 0:
		return name(messages.Get("0.id").String())
	case n == 0 && m == 1 && statuses.Get("0.id").String() != "":
		return name(statuses.Get("0.id").String() + ":" + statuses.Get("0.status").String())
	default:
		return ""
	}
}

func (meta) Handshake(r Request, tokens []string) (Answer, bool) {
	query := queryOf(r)
	if r.Method != "GET" || query.Get("hub.mode") != "subscribe" {
		return Answer{}, false
	}
	switch {
	case len(tokens) == 0:
		return notNow, true
	case !sameAsAny(query.Get("hub.verify_token"), tokens):
		return Answer{Status: 403, ContentType: "text/plain", Body: []byte("wrong verify token\n")}, true
	default:
		return echo(query.Get("hub.challenge")), true
	}
}
