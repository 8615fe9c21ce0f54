package senders

import (
	"bytes"
	"encoding/hex"
	"encoding/json"

	"github.com/tidwall/gjson"
)

// zoom: https://developers.zoom.us/docs/api/webhooks/
//
// Its scheme says how it signs. Zoom checks the URL every 72 hours: one check
// that fails six times switches the endpoint off.
type zoom struct{ *resigning }

func init() { extend("zoom", func(s Sender) Sender { return zoom{s.(*resigning)} }) }

// Handshake proves that the endpoint knows the secret token.
func (z zoom) Handshake(r Request, secrets []string) (Answer, bool) {
	const event = "endpoint.url_validation"
	if !bytes.Contains(r.Body, []byte(event)) || text(r.Body, "event") != event {
		return Answer{}, false
	}
	secret := z.signer(r, secrets)
	if secret == "" {
		return notNow, true
	}
	plain := gjson.GetBytes(r.Body, "payload.plainToken").String()
	sum := sum256(secret, nil, plain)
	body, err := json.Marshal(struct {
		PlainToken     string `json:"plainToken"`
		EncryptedToken string `json:"encryptedToken"`
	}{plain, hex.EncodeToString(sum[:])})
	if err != nil {
		return notNow, true
	}
	return Answer{Status: 200, ContentType: "application/json", Body: body}, true
}

// signer is the secret behind this very request: while one replaces another,
// Zoom expects its answer made with the one it signed with.
func (z zoom) signer(r Request, secrets []string) string {
	for _, secret := range secrets {
		if z.signed(r, secret) {
			return secret
		}
	}
	if len(secrets) > 0 {
		return secrets[0]
	}
	return ""
}
