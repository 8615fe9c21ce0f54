package senders

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// zoom: https://developers.zoom.us/docs/api/webhooks/
//
// Zoom waits 3 s, gives a delivery no id, and checks the URL every 72 hours:
// one check that fails six times switches the endpoint off.
type zoom struct{}

func init() { register(zoom{}) }

const (
	zoomSignature = "X-Zm-Signature"
	zoomTimestamp = "X-Zm-Request-Timestamp"
)

var (
	errZoomUnsigned  = unsigned(zoomSignature)
	errZoomUndated   = unsigned(zoomTimestamp)
	errZoomMalformed = malformed(zoomSignature)
	errZoomMismatch  = mismatch(zoomSignature)
)

func (zoom) Traits() Traits {
	return Traits{
		Name:       "zoom",
		SecretVar:  "ZOOM_SECRET_TOKEN",
		Budget:     2500 * time.Millisecond,
		HoldStatus: 200,
		Marks:      zoomMarks,
	}
}

var zoomMarks = []string{zoomSignature}

func (zoom) Verify(r Request, secrets []string, now time.Time) error {
	if repeated(r.Header, zoomSignature, zoomTimestamp) {
		return errRepeated
	}
	signature, at := r.Header.Get(zoomSignature), r.Header.Get(zoomTimestamp)
	switch {
	case signature == "":
		return errZoomUnsigned
	case at == "":
		return errZoomUndated
	}
	if err := checkAge(at, now); err != nil {
		return err
	}
	digits, prefixed := strings.CutPrefix(signature, "v0=")
	sum, readable := hexSum(digits)
	if !prefixed || !readable {
		return errZoomMalformed
	}
	if !signedBy(&sum, secrets, r.Body, "v0:", at, ":") {
		return errZoomMismatch
	}
	return nil
}

func (zoom) Resign(r Request, secret string, now time.Time) []Field {
	at := strconv.FormatInt(now.Unix(), 10)
	sum := sum256(secret, r.Body, "v0:", at, ":")
	return []Field{
		{zoomTimestamp, at},
		{zoomSignature, "v0=" + hex.EncodeToString(sum[:])},
	}
}

func (zoom) Identify(r Request) Identity {
	return Identity{Event: text(r.Body, "event")}
}

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
func (zoom) signer(r Request, secrets []string) string {
	sum, _ := hexSum(strings.TrimPrefix(r.Header.Get(zoomSignature), "v0="))
	for _, secret := range secrets {
		if signedBy(&sum, []string{secret}, r.Body, "v0:", r.Header.Get(zoomTimestamp), ":") {
			return secret
		}
	}
	if len(secrets) > 0 {
		return secrets[0]
	}
	return ""
}
