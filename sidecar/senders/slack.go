package senders

import (
	"bytes"

	"github.com/tidwall/gjson"
)

// slack: https://docs.slack.dev/authentication/verifying-requests-from-slack
//
// Its scheme says how it signs. Slack waits 3 s and repeats an event up to three times under the same
// event_id. Slash commands and interactive payloads come as forms, a person
// waits for their answer, and Slack never repeats them.
type slack struct{ *resigning }

func init() { extend("slack", func(s Sender) Sender { return slack{s.(*resigning)} }) }

func (slack) Identify(r Request) Identity {
	if isForm(r.Header) {
		return identifySlackForm(r.Body)
	}
	id := Identity{
		DeliveryID: text(r.Body, "event_id"),
		Event:      text(r.Body, "event.type"),
		Retry:      r.Header.Get("X-Slack-Retry-Num") != "",
	}
	if id.Event == "" {
		id.Event = text(r.Body, "type")
	}
	return id
}

func identifySlackForm(body []byte) Identity {
	if command, ok := formValue(body, "command"); ok {
		trigger, _ := formValue(body, "trigger_id")
		return Identity{DeliveryID: name(trigger), Event: name(command), Sync: true}
	}
	if payload, ok := formValue(body, "payload"); ok {
		kind := gjson.Get(payload, "type").String()
		trigger := gjson.Get(payload, "trigger_id").String()
		return Identity{DeliveryID: name(trigger), Event: name(kind), Sync: true}
	}
	return Identity{}
}

// Handshake answers the challenge by which Slack checks an events URL and the
// form by which it checks the certificate of a command's URL. Both are signed.
func (slack) Handshake(r Request, _ []string) (Answer, bool) {
	if isForm(r.Header) {
		check, _ := formValue(r.Body, "ssl_check")
		return Answer{Status: 200}, check == "1"
	}
	// The cheap look first: nearly every request is an event.
	if !bytes.Contains(r.Body, []byte("url_verification")) || text(r.Body, "type") != "url_verification" {
		return Answer{}, false
	}
	challenge := gjson.GetBytes(r.Body, "challenge").String()
	return Answer{Status: 200, ContentType: "text/plain", Body: []byte(challenge)}, true
}

// Decline tells the person who typed a command that nothing has happened. For
// an interactive payload Slack shows a failure of its own on a 503, which a 200
// of ours would hide.
func (slack) Decline(r Request) (Answer, bool) {
	if _, ok := formValue(r.Body, "command"); !ok || !isForm(r.Header) {
		return Answer{}, false
	}
	const message = `{"response_type":"ephemeral","text":"This app is restarting and did not get your command. Please try again in a minute."}`
	return Answer{Status: 200, ContentType: "application/json", Body: []byte(message)}, true
}
