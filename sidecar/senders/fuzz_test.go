package senders

import (
	"bytes"
	"net/http"
	"testing"
	"time"
)

// fuzz feeds a sender's parser with what a stranger may send. Nothing of it is
// signed, so nothing may pass, panic, change the body or become an unfit name.
func fuzz(f *testing.F, s Sender) {
	f.Helper()
	for _, v := range vectors(f) {
		if v.Sender == s.Traits().Name {
			f.Add(v.URL, v.Headers["Content-Type"], v.Headers[v.Signature], v.Headers[v.Timestamp], []byte(v.Body))
		}
	}
	f.Add("https://a.example/?validationToken=x&token=y", "application/cloudevents+json", "v1,x v1a,y", "1793613600", []byte(`[{"id":"1","value":[{}]}]`))
	f.Add("://", "application/x-www-form-urlencoded", "t=,v1=,v0=", "-1", []byte("command=%2F&payload={&%zz=&=&"))
	now := time.Unix(1793613600, 0)
	secrets := []string{"a secret that nobody guesses", "whpk_AAAA", "whsec_YSBzZWNyZXQgdGhhdCBub2JvZHkgZ3Vlc3Nlcw=="}
	f.Fuzz(func(t *testing.T, url, kind, signature, at string, body []byte) {
		h := http.Header{"Content-Type": {kind}}
		for _, field := range []string{
			hubSignature, slackSignature, stripeSignature, webhookFields.signature, svixFields.signature, gitlabToken, "X-Shopify-Hmac-Sha256",
			twilioSignature, discordSignature, "X-Zm-Signature", "Authorization", "X-Signature",
		} {
			h.Set(field, signature)
		}
		for _, field := range []string{slackTimestamp, webhookFields.at, svixFields.at, discordTimestamp, "X-Zm-Request-Timestamp", "Aeg-Delivery-Count"} {
			h.Set(field, at)
		}
		for _, field := range []string{webhookFields.id, svixFields.id, "Ce-Id", "Idempotency-Key", "X-Github-Delivery"} {
			h.Set(field, signature)
		}
		r := Request{Method: "POST", URL: url, Header: h, Body: bytes.Clone(body)}
		if err := s.Verify(r, secrets, now); err == nil {
			t.Error("accepted")
		}
		id := s.Identify(r)
		if name(id.DeliveryID) != id.DeliveryID || name(id.Event) != id.Event {
			t.Errorf("unfit to be stored: %+v", id)
		}
		if s, ok := s.(Handshaker); ok {
			s.Handshake(r, secrets)
		}
		if s, ok := s.(Decliner); ok {
			s.Decline(r)
		}
		if !bytes.Equal(r.Body, body) {
			t.Error("the body changed")
		}
		fuzzResign(t, s, r, secrets[2], now)
	})
}

// fuzzResign: whatever the request, what is signed afresh verifies.
func fuzzResign(t *testing.T, s Sender, r Request, secret string, now time.Time) {
	resigner, ok := s.(Resigner)
	if !ok {
		return
	}
	fields := resigner.Resign(r, secret, now)
	for _, f := range fields {
		set(&r, f.Name, f.Value)
	}
	if err := s.Verify(r, []string{secret}, now); err != nil && len(fields) > 0 && r.Header.Get(webhookFields.id) != "" {
		t.Errorf("signed afresh: %v", err)
	}
}

func FuzzGithub(f *testing.F)      { fuzz(f, known(f, "github")) }
func FuzzSlack(f *testing.F)       { fuzz(f, known(f, "slack")) }
func FuzzStripe(f *testing.F)      { fuzz(f, known(f, "stripe")) }
func FuzzGitlab(f *testing.F)      { fuzz(f, gitlab{}) }
func FuzzShopify(f *testing.F)     { fuzz(f, known(f, "shopify")) }
func FuzzTwilio(f *testing.F)      { fuzz(f, twilio{}) }
func FuzzStandard(f *testing.F)    { fuzz(f, standard{}) }
func FuzzCloudEvents(f *testing.F) { fuzz(f, cloudevents{}) }
func FuzzEventGrid(f *testing.F)   { fuzz(f, eventgrid{}) }
func FuzzGraph(f *testing.F)       { fuzz(f, graph{}) }
func FuzzMeta(f *testing.F)        { fuzz(f, known(f, "meta")) }
func FuzzDiscord(f *testing.F)     { fuzz(f, discord{}) }
func FuzzZoom(f *testing.F)        { fuzz(f, known(f, "zoom")) }
func FuzzGeneric(f *testing.F)     { fuzz(f, GenericHMAC("X-Signature", "S")) }

func FuzzVerifySluice(f *testing.F) {
	f.Add("1", "1", "2026-11-02T10:00:00.123456Z", "github", "v1=", []byte("{}"))
	f.Fuzz(func(t *testing.T, id, attempt, at, verified, signature string, body []byte) {
		s := Stamp{ID: id, Attempt: attempt, ReceivedAt: at, Verified: verified}
		if _, err := VerifySluice(sluiceHeader(s, signature), body, []string{"nobody guesses"}); err == nil {
			t.Error("accepted")
		}
		if _, err := VerifySluice(sluiceHeader(s, s.Sign("k", body)), body, []string{"k"}); (err == nil) != (s.check() == nil) {
			t.Errorf("%+v: %v", s, err)
		}
	})
}
