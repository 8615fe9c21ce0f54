package senders

import (
	"crypto/ed25519"
	"encoding/hex"
	"time"

	"github.com/tidwall/gjson"
)

// discord: https://docs.discord.com/developers/events/webhook-events and
// https://docs.discord.com/developers/interactions/overview
//
// The "secret" is the application's public key, so nothing here can be signed
// afresh. Discord sends bad signatures on purpose and removes a URL that does
// not answer them with 401. It publishes no tolerance for the timestamp.
type discord struct{}

func init() { register(discord{}) }

const (
	discordSignature = "X-Signature-Ed25519"
	discordTimestamp = "X-Signature-Timestamp"
)

var (
	errDiscordUnsigned  = unsigned(discordSignature)
	errDiscordUndated   = unsigned(discordTimestamp)
	errDiscordMalformed = malformed(discordSignature)
	errDiscordMismatch  = mismatch(discordSignature)
)

func (discord) Traits() Traits {
	return Traits{
		Name:       "discord",
		SecretVar:  "DISCORD_PUBLIC_KEY",
		Budget:     2500 * time.Millisecond,
		HoldStatus: 204,
		Marks:      discordMarks,
	}
}

var discordMarks = []string{discordSignature}

func (discord) Verify(r Request, secrets []string, _ time.Time) error {
	if repeated(r.Header, discordSignature, discordTimestamp) {
		return errRepeated
	}
	field, at := r.Header.Get(discordSignature), r.Header.Get(discordTimestamp)
	switch {
	case field == "":
		return errDiscordUnsigned
	case at == "":
		return errDiscordUndated
	}
	var signature [ed25519.SignatureSize]byte
	if len(field) != hex.EncodedLen(len(signature)) {
		return errDiscordMalformed
	}
	if _, err := hex.Decode(signature[:], []byte(field)); err != nil {
		return errDiscordMalformed
	}
	message := make([]byte, 0, len(at)+len(r.Body))
	message = append(append(message, at...), r.Body...)
	for _, secret := range secrets {
		key, err := hex.DecodeString(secret)
		if err == nil && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, message, signature[:]) {
			return nil
		}
	}
	return errDiscordMismatch
}

// An interaction has a token to answer it with; a webhook event has an event.
func (discord) Identify(r Request) Identity {
	if event := gjson.GetBytes(r.Body, "event"); event.Exists() {
		return Identity{Event: name(event.Get("type").String())}
	}
	return Identity{
		DeliveryID: text(r.Body, "id"),
		Event:      text(r.Body, "data.name"),
		Sync:       gjson.GetBytes(r.Body, "token").Exists(),
	}
}

// Discord numbers its kinds twice: 0 is the PING and 1 the event on an events
// URL, 1 is the PING on an interactions URL.
const (
	discordEventsPing      = 0
	discordInteractionPing = 1
	discordAutocomplete    = 4
)

func (discord) Handshake(r Request, _ []string) (Answer, bool) {
	kind := gjson.GetBytes(r.Body, "type")
	if kind.Type != gjson.Number || gjson.GetBytes(r.Body, "event").Exists() {
		return Answer{}, false
	}
	switch kind.Int() {
	case discordEventsPing:
		// Without a body, and yet Discord asks for a valid Content-Type.
		return Answer{Status: 204, ContentType: "application/json"}, true
	case discordInteractionPing:
		return Answer{Status: 200, ContentType: "application/json", Body: []byte(`{"type":1}`)}, true
	default:
		return Answer{}, false
	}
}

// Decline answers a person's command with a message only that person sees.
func (discord) Decline(r Request) (Answer, bool) {
	kind := gjson.GetBytes(r.Body, "type").Int()
	if kind <= discordInteractionPing {
		return Answer{}, false
	}
	body := `{"type":4,"data":{"flags":64,"content":"This app is restarting and did not get your command. Please try again in a minute."}}`
	if kind == discordAutocomplete {
		body = `{"type":8,"data":{"choices":[]}}`
	}
	return Answer{Status: 200, ContentType: "application/json", Body: []byte(body)}, true
}
