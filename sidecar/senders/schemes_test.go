package senders

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestGeneric(t *testing.T) {
	mac := hmac.New(sha256.New, []byte("ci secret"))
	mac.Write([]byte("body"))
	sum := mac.Sum(nil)
	s := GenericHMAC("X-Signature", "CI_SECRET")
	if got := s.Traits(); got.Name != "generic" || got.SecretVar != "CI_SECRET" {
		t.Errorf("traits %+v", got)
	}
	tests := []struct {
		name, signature string
		secrets         []string
		want            error
	}{
		{"hex", hex.EncodeToString(sum), []string{"ci secret"}, nil},
		{"prefixed hex", "sha256=" + hex.EncodeToString(sum), []string{"ci secret"}, nil},
		{"upper-case hex", strings.ToUpper(hex.EncodeToString(sum)), []string{"ci secret"}, nil},
		{"base64", base64.StdEncoding.EncodeToString(sum), []string{"ci secret"}, nil},
		{"second secret", hex.EncodeToString(sum), []string{"new", "ci secret"}, nil},
		{"rotated away", hex.EncodeToString(sum), []string{"new"}, ErrSignature},
		{"empty secret", hex.EncodeToString(sum), []string{""}, ErrSignature},
		{"missing", "", []string{"ci secret"}, ErrUnsigned},
		{"truncated", hex.EncodeToString(sum[:31]), []string{"ci secret"}, ErrSignature},
		{"junk", strings.Repeat("z", 64), []string{"ci secret"}, ErrSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := Request{Header: headerOf(map[string]string{"X-Signature": tt.signature}), Body: []byte("body")}
			if err := s.Verify(r, tt.secrets, time.Time{}); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	if err := (generic{}).Verify(Request{Header: http.Header{}}, []string{"s"}, time.Time{}); !errors.Is(err, ErrUnsigned) {
		t.Errorf("without a header: %v", err)
	}
	id := s.Identify(Request{Header: headerOf(map[string]string{"Idempotency-Key": "k", "X-Request-Uuid": "r", "X-Event-Key": "repo:push"})})
	if id != (Identity{DeliveryID: "k", Event: "repo:push"}) {
		t.Errorf("identity %+v", id)
	}
}

// The empty key is everybody's: what is signed with it must never pass.
func TestEmptySecretSignsNothing(t *testing.T) {
	now := time.Unix(1793613600, 0)
	for _, name := range Names() {
		s, _ := Lookup(name)
		r := Request{Method: "POST", URL: "https://a.example/in", Header: headerOf(map[string]string{
			"Webhook-Id": "1", "Authorization": "Bearer ", gitlabToken: "",
		}), Body: []byte("{}")}
		if resigner, ok := s.(Resigner); ok {
			for _, f := range resigner.Resign(r, "", now) {
				set(&r, f.Name, f.Value)
			}
		}
		sum := sum256("", r.Body)
		set(&r, hubSignature, "sha256="+hex.EncodeToString(sum[:]))
		set(&r, "X-Shopify-Hmac-Sha256", base64.StdEncoding.EncodeToString(sum[:]))
		if err := s.Verify(r, []string{""}, now); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestGraph(t *testing.T) {
	const one = `{"id":"n1","changeType":"updated","clientState":"mine"}`
	tests := []struct {
		name, body string
		want       error
		identity   Identity
	}{
		{"right", `{"value":[` + one + `]}`, nil, Identity{DeliveryID: "n1", Event: "updated"}},
		{"two", `{"value":[` + one + `,{"id":"n2","clientState":"mine"}]}`, nil, Identity{Event: "updated"}},
		{"lifecycle", `{"value":[{"lifecycleEvent":"missed","clientState":"mine"}]}`, nil, Identity{Event: "missed"}},
		{"a forged one beside it", `{"value":[` + one + `,{"id":"n2","clientState":"x"}]}`, ErrSignature, Identity{Event: "updated"}},
		{"one without beside it", `{"value":[` + one + `,{"id":"n2"}]}`, ErrUnsigned, Identity{Event: "updated"}},
		{"truncated", `{"value":[{"id":"n1","clientState":"min"}]}`, ErrSignature, Identity{DeliveryID: "n1"}},
		{"empty", `{"value":[{"id":"n1","clientState":""}]}`, ErrUnsigned, Identity{DeliveryID: "n1"}},
		{"no string", `{"value":[{"id":"n1","clientState":["mine"]}]}`, ErrUnsigned, Identity{DeliveryID: "n1"}},
		{"none", `{"value":[]}`, ErrUnsigned, Identity{}},
		{"junk", `{"value":`, ErrUnsigned, Identity{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := Request{Header: http.Header{}, Body: []byte(tt.body)}
			if err := (graph{}).Verify(r, []string{"new", "mine"}, time.Time{}); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if got := (graph{}).Identify(r); got != tt.identity {
				t.Errorf("identity %+v, want %+v", got, tt.identity)
			}
		})
	}
}

func TestTokens(t *testing.T) {
	tests := []struct {
		name, sender, query, authorization string
		want                               error
	}{
		{"bearer", "cloudevents", "", "Bearer mine", nil},
		{"any case", "cloudevents", "", "bearer mine", nil},
		{"query", "cloudevents", "?access_token=mine", "", nil},
		{"query, Event Grid", "eventgrid", "?token=mine", "", nil},
		{"key, Event Grid", "eventgrid", "?code=mine", "", nil},
		{"property, Event Grid", "eventgrid", "", "mine", nil},
		{"wrong", "cloudevents", "", "Bearer other", ErrSignature},
		{"truncated", "cloudevents", "", "Bearer min", ErrSignature},
		{"wrong beside right", "cloudevents", "?access_token=mine", "Bearer other", ErrSignature},
		{"wrong in query", "eventgrid", "?token=other", "", ErrSignature},
		{"missing", "cloudevents", "", "", ErrUnsigned},
		{"missing, Event Grid", "eventgrid", "?x=mine", "", ErrUnsigned},
		{"junk query", "eventgrid", "?token=%zz", "", ErrUnsigned},
		{"empty", "cloudevents", "", "Bearer ", ErrUnsigned},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Lookup(tt.sender)
			if err != nil {
				t.Fatal(err)
			}
			r := Request{URL: "https://a.example/in" + tt.query, Header: headerOf(map[string]string{"Authorization": tt.authorization})}
			if err := s.Verify(r, []string{"new", "mine"}, time.Time{}); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestBatchesHaveNoID(t *testing.T) {
	cloudBatch := map[string]string{"Content-Type": "application/cloudevents-batch+json; charset=utf-8"}
	tests := []struct {
		name   string
		sender Sender
		header map[string]string
		body   string
		want   Identity
	}{
		{"event grid, one", eventgrid{}, map[string]string{"Aeg-Delivery-Count": "0"}, `[{"id":"1","eventType":"T"}]`, Identity{DeliveryID: "1", Event: "T"}},
		{"event grid, retried", eventgrid{}, map[string]string{"Aeg-Delivery-Count": "2"}, `[{"id":"1","eventType":"T"}]`, Identity{DeliveryID: "1", Event: "T", Retry: true}},
		{"event grid, two", eventgrid{}, nil, `[{"id":"1","eventType":"T"},{"id":"2"}]`, Identity{Event: "T"}},
		{"event grid, CloudEvents", eventgrid{}, map[string]string{"Content-Type": "application/cloudevents+json"}, `{"id":"1","source":"/s","type":"T"}`, Identity{DeliveryID: "1@/s", Event: "T"}},
		{"cloudevents, one", cloudevents{}, cloudBatch, `[{"id":"1","source":"/s","type":"T"}]`, Identity{DeliveryID: "1@/s", Event: "T"}},
		{"cloudevents, two", cloudevents{}, cloudBatch, `[{"id":"1","source":"/s","type":"T"},{"id":"2"}]`, Identity{Event: "T"}},
		{"meta, two entries", known(t, "meta"), nil, `{"object":"page","entry":[{"messaging":[{"message":{"mid":"1"}}]},{}]}`, Identity{Event: "page"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.sender.Identify(Request{Header: headerOf(tt.header), Body: []byte(tt.body)}); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// A name goes into a text column and an index: what neither takes is no name.
func TestNamesFitToBeStored(t *testing.T) {
	for _, bad := range []string{`\u0000`, `a\nb`, strings.Repeat("x", maxName+1)} {
		r := Request{Header: http.Header{}, Body: []byte(`{"id":"` + bad + `","type":"` + bad + `"}`)}
		if got := known(t, "stripe").Identify(r); got != (Identity{}) {
			t.Errorf("%.10q: %.40v", bad, got)
		}
	}
	r := Request{Header: headerOf(map[string]string{"X-Github-Delivery": "a\xff", "X-Github-Event": "push"})}
	if got := known(t, "github").Identify(r); got != (Identity{Event: "push"}) {
		t.Errorf("%+v", got)
	}
}

// A parameter cut elsewhere, or one with a NUL put in, is another request.
func TestTwilioFormsAreNotMalleable(t *testing.T) {
	for _, v := range vectors(t) {
		if v.Name != "twilio published" {
			continue
		}
		for _, body := range []string{v.Body + "&X=", v.Body + "&%00=", strings.Replace(v.Body, "Digits=1234", "Digits=12%0034", 1), v.Body + "&bad=%zz"} {
			r := v.request()
			r.Body = []byte(body)
			if err := (twilio{}).Verify(r, []string{v.Secret}, time.Time{}); !errors.Is(err, ErrSignature) {
				t.Errorf("%q: %v", body, err)
			}
		}
		r := v.request()
		r.URL = strings.Replace(r.URL, "https:", "http:", 1)
		if err := (twilio{}).Verify(r, []string{v.Secret}, time.Time{}); !errors.Is(err, ErrSignature) {
			t.Errorf("another scheme: %v", err)
		}
	}
}

// Both sets of names with one statement are signed afresh together.
func TestResignBothNames(t *testing.T) {
	now := time.Unix(1793613600, 0)
	r := Request{Header: headerOf(map[string]string{
		"Webhook-Id": "1", "Webhook-Signature": "v1,x", "Svix-Id": "1", "Svix-Signature": "v1,x",
	})}
	if fields := (standard{}).Resign(r, "whsec_c2VjcmV0", now); len(fields) != 4 {
		t.Errorf("%v", fields)
	}
	set(&r, "Svix-Id", "2")
	if fields := (standard{}).Resign(r, "whsec_c2VjcmV0", now); len(fields) != 2 {
		t.Errorf("another's id was signed: %v", fields)
	}
}

func TestRegistry(t *testing.T) {
	want := "bitbucket box circleci cloudevents discord dropbox eventgrid generic gitea github gitlab graph hubspot intercom jira line linear meta " +
		"notion okta paddle pagerduty sentry shopify slack square standard stripe telegram twilio twitch vercel zendesk zoom"
	if got := strings.Join(Names(), " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := Lookup("no"); err == nil || !strings.Contains(err.Error(), "github") {
		t.Errorf("an unknown name: %v", err)
	}
	for _, name := range Names() {
		s, _ := Lookup(name)
		tr := s.Traits()
		_, shakes := s.(Handshaker)
		if tr.Name != name || tr.Budget <= 0 || tr.HoldStatus < 200 || tr.HoldStatus > 204 || tr.OpenHandshake && !shakes || tr.HandshakeVar != "" && !shakes {
			t.Errorf("%s: %+v", name, tr)
		}
		if tr.SecretVar == "" && name != "generic" {
			t.Errorf("%s has no secret", name)
		}
	}
}
