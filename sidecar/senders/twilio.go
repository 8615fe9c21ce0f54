package senders

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Twilio's scheme, not ours to choose
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"time"
)

// twilio: https://www.twilio.com/docs/usage/webhooks/webhooks-security
//
// The signature covers the URL as Twilio was given it, so scheme and host must
// reach this package unchanged, and the form's parameters, sorted, or a hash of
// any other body in the parameter bodySHA256. A call or a message is answered
// with TwiML and never held; a 503 makes Twilio use its fallback URL. Reports of
// progress are held like any webhook.
type twilio struct{}

func init() { register(twilio{}) }

const (
	twilioSignature = "X-Twilio-Signature"
	// maxTwilioForm bounds what a forged request can make us sort.
	maxTwilioForm = 1 << 20
)

var (
	errTwilioUnsigned  = unsigned(twilioSignature)
	errTwilioMalformed = malformed(twilioSignature)
	errTwilioMismatch  = mismatch(twilioSignature)
)

// HoldStatus is 204 because any body would be read as TwiML.
func (twilio) Traits() Traits {
	return Traits{
		Name:          "twilio",
		SecretVar:     "TWILIO_AUTH_TOKEN",
		Budget:        12 * time.Second,
		HoldStatus:    204,
		RetriesItself: true,
		Marks:         twilioMarks,
		Lane:          twilioLane,
	}
}

var twilioMarks = []string{twilioSignature}

func (twilio) Verify(r Request, secrets []string, _ time.Time) error {
	if repeated(r.Header, twilioSignature) {
		return errRepeated
	}
	field := r.Header.Get(twilioSignature)
	if field == "" {
		return errTwilioUnsigned
	}
	signature, err := base64.StdEncoding.DecodeString(field)
	if err != nil || len(signature) != sha1.Size {
		return errTwilioMalformed
	}
	parameters, covered := twilioParameters(r)
	if !covered {
		return errTwilioMismatch
	}
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		for _, address := range twilioAddresses(r.URL) {
			mac := hmac.New(sha1.New, []byte(secret))
			mac.Write([]byte(address))
			mac.Write(parameters)
			if subtle.ConstantTimeCompare(signature, mac.Sum(nil)) == 1 {
				return nil
			}
		}
	}
	return errTwilioMismatch
}

// twilioParameters returns what is signed after the URL, and whether all of the
// body is covered by the signature.
func twilioParameters(r Request) ([]byte, bool) {
	if !isForm(r.Header) {
		sum := sha256.Sum256(r.Body)
		want := queryOf(r).Get("bodySHA256")
		return nil, strings.EqualFold(want, hex.EncodeToString(sum[:])) || want == "" && len(r.Body) == 0
	}
	if len(r.Body) > maxTwilioForm {
		return nil, false
	}
	type parameter struct{ key, value string }
	var list []parameter
	for pair := range bytes.SplitSeq(r.Body, []byte("&")) {
		k, v, _ := bytes.Cut(pair, []byte("="))
		key, keyErr := url.QueryUnescape(string(k))
		value, valueErr := url.QueryUnescape(string(v))
		if keyErr != nil || valueErr != nil {
			return nil, false
		}
		list = append(list, parameter{key, value})
	}
	slices.SortFunc(list, func(a, b parameter) int {
		return cmp.Or(strings.Compare(a.key, b.key), strings.Compare(a.value, b.value))
	})
	var signed []byte
	for _, p := range slices.Compact(list) {
		signed = append(append(signed, p.key...), p.value...)
	}
	return signed, true
}

// twilioAddresses are the forms of one URL that Twilio may have signed: it adds
// or leaves out the scheme's own port as it pleases.
func twilioAddresses(address string) []string {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return []string{address}
	}
	port := ":443"
	if scheme == "http" {
		port = ":80"
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host := rest[:end]
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		return []string{address, scheme + "://" + host[:colon] + rest[end:]}
	}
	return []string{address, scheme + "://" + host + port + rest[end:]}
}

func (twilio) Identify(r Request) Identity {
	id := Identity{DeliveryID: name(r.Header.Get("I-Twilio-Idempotency-Token"))}
	if !isForm(r.Header) {
		id.Event = text(r.Body, "0.type") // an event stream: a list of CloudEvents
		return id
	}
	for _, report := range []string{"CallbackSource", "StatusCallbackEvent", "RecordingStatus", "TranscriptionStatus"} {
		if kind, ok := formValue(r.Body, report); ok {
			id.Event = name(kind)
			return id
		}
	}
	for _, key := range []string{"MessageStatus", "SmsStatus", "CallStatus"} {
		if status, ok := formValue(r.Body, key); ok {
			id.Event = name(status)
			// A message that comes in is "received"; every other status of one
			// reports on a message that went out.
			id.Sync = key == "CallStatus" || status == "received"
			return id
		}
	}
	id.Sync = true // unknown: better refused than falsely acknowledged
	return id
}

var twilioLane = []string{"form:AccountSid"}
