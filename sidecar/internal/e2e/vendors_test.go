package e2e

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// vendorSchemes are senders that nothing here knows, each written from its vendor's
// page alone.
const vendorSchemes = `senders:
  webflow:
    page: https://developers.webflow.com/data/docs/working-with-webhooks
    signature: header:x-webflow-signature
    timestamp: {from: header:x-webflow-timestamp, unit: ms}
    base: "{timestamp}:{body}"
    event: json:triggerType
    status: 200
  calendly:
    page: https://developer.calendly.com/api-docs/webhook-signatures
    signature: {from: header:Calendly-Webhook-Signature, split: ",", prefix: "v1="}
    timestamp: {from: header:Calendly-Webhook-Signature, split: ",", prefix: "t=", tolerance: 3m}
    base: "{timestamp}.{body}"
    event: json:event
  razorpay:
    page: https://razorpay.com/docs/webhooks/validate-test
    signature: header:X-Razorpay-Signature
    id: header:X-Razorpay-Event-Id
    event: json:event
    status: 200
    retries: true
  airtable:
    page: https://airtable.com/developers/web/api/webhooks-overview
    signature: {from: header:X-Airtable-Content-MAC, prefix: "hmac-sha256="}
    key: base64
    status: 204
  trello:
    page: https://developer.atlassian.com/cloud/trello/guides/rest-api/webhooks
    signature: header:x-trello-webhook
    encoding: base64
    mac: hmac-sha1
    base: "{body}{url}"
    url: https://hooks.example.com/in/trello
    id: json:action.id
    event: json:action.type
    status: 200
    handshake: [{when: {method: HEAD}, reply: {status: 200}}]
  docusign:
    page: https://developers.docusign.com/platform/webhooks/connect/hmac
    signature: header:X-DocuSign-Signature-*
    encoding: base64
    event: json:event
    status: 200
    body: "taken"
`

// vendor signs as a vendor's page says, without package senders.
type vendor struct {
	name, secret string
	sign         func(secret, body string, at time.Time) []string
	signedAt     func(http.Header) time.Time // nil where no time is signed
}

var vendors = []vendor{
	{"webflow", "webflow secret", func(secret, body string, at time.Time) []string {
		ms := strconv.FormatInt(at.UnixMilli(), 10)
		return []string{"X-Webflow-Timestamp", ms, "X-Webflow-Signature", sign(secret, ms+":"+body)}
	}, func(h http.Header) time.Time {
		ms, _ := strconv.ParseInt(h.Get("X-Webflow-Timestamp"), 10, 64)
		return time.UnixMilli(ms)
	}},
	{"calendly", "calendly key", func(secret, body string, at time.Time) []string {
		s := strconv.FormatInt(at.Unix(), 10)
		return []string{"Calendly-Webhook-Signature", "t=" + s + ",v1=" + sign(secret, s+"."+body)}
	}, func(h http.Header) time.Time {
		first, _, _ := strings.Cut(h.Get("Calendly-Webhook-Signature"), ",")
		s, _ := strconv.ParseInt(strings.TrimPrefix(first, "t="), 10, 64)
		return time.Unix(s, 0)
	}},
	{"razorpay", "key_secret", func(secret, body string, _ time.Time) []string {
		return []string{"X-Razorpay-Signature", sign(secret, body)}
	}, nil},
	{"airtable", "c2VjcmV0LWtleQ==", func(secret, body string, _ time.Time) []string {
		key, err := base64.StdEncoding.DecodeString(secret)
		if err != nil {
			key = []byte(secret)
		}
		return []string{"X-Airtable-Content-MAC", "hmac-sha256=" + sign(string(key), body)}
	}, nil},
	{"trello", "trello secret", func(secret, body string, _ time.Time) []string {
		mac := hmac.New(sha1.New, []byte(secret))
		mac.Write([]byte(body + "https://hooks.example.com/in/trello"))
		return []string{"X-Trello-Webhook", base64.StdEncoding.EncodeToString(mac.Sum(nil))}
	}, nil},
	{"docusign", "docusign key", func(secret, body string, _ time.Time) []string {
		return []string{"X-DocuSign-Signature-1", inBase64(sign("the key before", body)), "X-DocuSign-Signature-2", inBase64(sign(secret, body))}
	}, nil},
}

// A sender made by configuration alone is passed on, held, delivered with a signature
// of the time of the replay where a field has its time, and refused when forged.
func TestSendersByConfiguration(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "routes.yaml")
	text, settings := vendorSchemes+"routes:\n", env{"WEBHOOK_ROUTES": "", "ROUTES_FILE": file, "ALLOW_UNVERIFIED": "", "LANES": "", "RESIGN": "true"}
	for _, v := range vendors {
		variable := strings.ToUpper(v.name) + "_SECRET"
		settings[variable] = v.secret
		text += fmt.Sprintf("  - {name: %s, path: /in/%s, sender: %s, secrets: [{env: %s}]}\n", v.name, v.name, v.name, variable)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, settings)
	publishedByVendors(t, s)
	early := time.Now().Add(-2 * time.Minute)
	for _, v := range vendors {
		s.mustPass("/in/"+v.name, "{}", v.sign(v.secret, "{}", early)...)
	}
	live := len(a.accepted())
	a.stop()
	for _, v := range vendors {
		path, body := "/in/"+v.name, `{"held":"`+v.name+`"}`
		got := s.mustHold(path, body, v.sign(v.secret, body, early)...)
		if v.name == "docusign" && got.body != "taken" {
			t.Errorf("the acknowledgement is %q", got.body)
		}
		for what, fields := range map[string][]string{
			"by another secret": v.sign("another secret", body, early),
			"of another body":   v.sign(v.secret, body+" ", early),
			"unsigned":          nil,
		} {
			if got := s.post(path, body, fields...); got.status != http.StatusUnauthorized {
				t.Errorf("%s %s: %d", v.name, what, got.status)
			}
		}
		if v.signedAt == nil {
			continue
		}
		if got := s.post(path, body, v.sign(v.secret, body, early.Add(-time.Hour))...); got.status != http.StatusUnauthorized {
			t.Errorf("%s of an hour ago: %d", v.name, got.status)
		}
	}
	req, err := http.NewRequest(http.MethodHead, s.url+"/in/trello", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := do(req); got.status != http.StatusOK {
		t.Errorf("Trello's check of the address: %d", got.status)
	}
	a.start()
	for _, d := range a.waitAccepted(live + len(vendors))[live:] {
		name := strings.TrimPrefix(d.uri, "/in/")
		for _, v := range vendors {
			if v.name == name {
				v.checkReplayed(t, d, early)
			}
		}
	}
}

// checkReplayed checks that the vendor's own rule verifies the delivery, at the time of
// the replay where it signs one.
func (v vendor) checkReplayed(t *testing.T, d delivery, early time.Time) {
	t.Helper()
	at := early
	if v.signedAt != nil {
		if at = v.signedAt(d.header); time.Since(at) > time.Since(early)-time.Minute {
			t.Errorf("%s: replayed with the signature of %v", v.name, at)
		}
	}
	want := v.sign(v.secret, d.body, at)
	for i := 0; i < len(want); i += 2 {
		if got := d.header.Get(want[i]); got != want[i+1] {
			t.Errorf("%s: %s is %q, want %q", v.name, want[i], got, want[i+1])
		}
	}
	if d.header.Get("Sluice-Verified") != v.name || d.replayed != "true" {
		t.Errorf("%s: Sluice-Verified %q, replayed %q", v.name, d.header.Get("Sluice-Verified"), d.replayed)
	}
}

// publishedByVendors sends what others have published: Razorpay in the tests of
// razorpay-python, and Airtable's in those of pyairtable. Changed, it is refused.
func publishedByVendors(t *testing.T, s *sidecar) {
	t.Helper()
	for path, v := range map[string]struct{ field, value, body string }{
		"/in/razorpay": {"X-Razorpay-Signature", "d60e67fd884556c045e9be7dad57903e33efc7172c17c6e3ef77db42d2b366e9", razorpayBody},
		"/in/airtable": {
			"X-Airtable-Content-MAC", "hmac-sha256=e26da696a90933647bddc83995c3e1e3bb1c3d8ce1ff61cb7469767d50b2b2d4",
			`{"base": {"id": "app00000000000000"}, "webhook": {"id": "ach00000000000000"}, "timestamp": "2022-02-01T21:25:05.663Z"}`,
		},
	} {
		s.mustPass(path, v.body, v.field, v.value)
		for _, changed := range []string{v.body + "\n", strings.Replace(v.body, "0", "1", 1), ""} {
			if got := s.post(path, changed, v.field, v.value); got.status != http.StatusUnauthorized {
				t.Errorf("%s, changed: %d", path, got.status)
			}
		}
		if got := s.post(path, v.body, v.field, v.value[:len(v.value)-1]+"0"); got.status != http.StatusUnauthorized {
			t.Errorf("%s, another signature: %d", path, got.status)
		}
	}
}

const razorpayBody = `{
  "event": "payment.authorized",
  "entity": "event",
  "contains": [
    "payment"
  ],
  "payload": {
    "payment": {
      "entity": {
        "id": "pay_6koWN7bvxujzxM",
        "entity": "payment",
        "amount": 1000000,
        "currency": "INR",
        "status": "captured",
        "order_id": "order_100000000order",
        "international": false,
        "method": "card",
        "amount_refunded": 0,
        "refund_status": null,
        "captured": true,
        "description": "random description",
        "card_id": "card_6koWNAT6LASUqy",
        "bank": null,
        "wallet": null,
        "vpa": null,
        "email": "a@b.com",
        "contact": "+919999999999",
        "notes": {
          "merchant_order_id": "random order id"
        },
        "fee": 23000,
        "service_tax": 3000,
        "error_code": null,
        "error_description": null,
        "created_at": 1479978483
      }
    }
  },
  "created_at": 1400826760
}
`
