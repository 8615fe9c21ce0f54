package senders

import (
	"net/http"
	"testing"
)

const cloudFrom = "Microsoft.EventGrid.SubscriptionValidationEvent"

func TestHandshake(t *testing.T) {
	tests := []struct {
		name, sender string
		method, url  string
		header       map[string]string
		body         string
		secrets      []string
		want         Answer // Header is not compared
		no           bool
	}{
		{
			name: "slack challenge", sender: "slack", header: map[string]string{"Content-Type": "application/json"},
			body: `{"token":"t","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}`,
			want: Answer{Status: 200, ContentType: "text/plain", Body: []byte("3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P")},
		},
		{
			name: "slack event that quotes the word", sender: "slack", no: true,
			body: `{"type":"event_callback","event":{"type":"message","text":"url_verification"}}`,
		},
		{
			name: "slack certificate check", sender: "slack", header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
			body: "ssl_check=1&token=t", want: Answer{Status: 200},
		},
		{
			name: "slack command", sender: "slack", header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
			body: "command=%2Fdeploy&text=ssl_check%3D1", no: true,
		},
		{
			name: "zoom validation", sender: "zoom", secrets: []string{"zoom token"},
			body: `{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1654503849680,"event":"endpoint.url_validation"}`,
			// printf qgg8vlvZRS6UYooatFL8Aw | openssl dgst -sha256 -hmac "zoom token"
			want: Answer{Status: 200, ContentType: "application/json", Body: []byte(`{"plainToken":"qgg8vlvZRS6UYooatFL8Aw","encryptedToken":"d5a58408fd49249370446b7c10c9312b6846765137ead67542f16bc58470d5b4"}`)},
		},
		{
			name: "zoom validation without a secret", sender: "zoom",
			body: `{"payload":{"plainToken":"x"},"event":"endpoint.url_validation"}`, want: notNow,
		},
		{name: "zoom event", sender: "zoom", secrets: []string{"s"}, body: `{"event":"meeting.started","payload":{"topic":"endpoint.url_validation"}}`, no: true},
		{
			name: "graph validation", sender: "graph", url: "https://a.example/in?validationToken=Validation%3A+Testing+client+%3Cb%3E",
			want: echo("Validation: Testing client <b>"),
		},
		{name: "graph notification", sender: "graph", body: `{"value":[]}`, no: true},
		{
			name: "graph notification that claims to be one", sender: "graph", url: "https://a.example/in?validationToken=x",
			body: `{"value":[{"clientState":"forged"}]}`, no: true,
		},
		{
			name: "event grid validation", sender: "eventgrid", header: map[string]string{"Aeg-Event-Type": "SubscriptionValidation"},
			body: `[{"id":"2d1781af","eventType":"` + cloudFrom + `","data":{"validationCode":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}}]`,
			want: Answer{Status: 200, ContentType: "application/json", Body: []byte(`{"validationResponse":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}`)},
		},
		{
			name: "event grid validation with a passenger", sender: "eventgrid", header: map[string]string{"Aeg-Event-Type": "SubscriptionValidation"},
			body: `[{"eventType":"` + cloudFrom + `","data":{"validationCode":"x"}},{"eventType":"forged"}]`, no: true,
		},
		{
			name: "event grid event", sender: "eventgrid", header: map[string]string{"Aeg-Event-Type": "Notification"},
			body: `[{"eventType":"` + cloudFrom + `","data":{"validationCode":"x"}}]`, no: true,
		},
		{
			name: "event grid, CloudEvents schema", sender: "eventgrid", method: "OPTIONS", header: map[string]string{"Webhook-Request-Origin": "eventgrid.azure.net"},
			want: Answer{Status: 200},
		},
		{
			name: "cloudevents", sender: "cloudevents", method: "OPTIONS", header: map[string]string{"Webhook-Request-Origin": "eventemitter.example.com", "Webhook-Request-Rate": "120"},
			want: Answer{Status: 200},
		},
		{name: "some other OPTIONS", sender: "cloudevents", method: "OPTIONS", no: true},
		{
			name: "meta", sender: "meta", method: "GET", url: "https://a.example/in?hub.mode=subscribe&hub.verify_token=mine&hub.challenge=1158201444",
			secrets: []string{"older", "mine"}, want: echo("1158201444"),
		},
		{
			name: "meta, wrong token", sender: "meta", method: "GET", url: "https://a.example/in?hub.mode=subscribe&hub.verify_token=x&hub.challenge=1",
			secrets: []string{"mine"}, want: Answer{Status: 403, ContentType: "text/plain", Body: []byte("wrong verify token\n")},
		},
		{
			name: "meta, empty token", sender: "meta", method: "GET", url: "https://a.example/in?hub.mode=subscribe&hub.challenge=1",
			secrets: []string{""}, want: Answer{Status: 403, ContentType: "text/plain", Body: []byte("wrong verify token\n")},
		},
		{name: "meta, no token known", sender: "meta", method: "GET", url: "https://a.example/in?hub.mode=subscribe&hub.challenge=1", want: notNow},
		{name: "meta delivery", sender: "meta", url: "https://a.example/in?hub.mode=subscribe", no: true},
		{name: "discord events", sender: "discord", body: `{"version":1,"application_id":"1","type":0}`, want: Answer{Status: 204, ContentType: "application/json"}},
		{
			name: "discord interactions", sender: "discord", body: `{"id":"1","token":"t","type":1,"version":1}`,
			want: Answer{Status: 200, ContentType: "application/json", Body: []byte(`{"type":1}`)},
		},
		{name: "discord event", sender: "discord", body: `{"type":1,"event":{"type":"ENTITLEMENT_CREATE"}}`, no: true},
		{name: "discord command", sender: "discord", body: `{"type":2,"token":"t"}`, no: true},
		{name: "discord junk", sender: "discord", body: `{}`, no: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := Request{Method: "POST", URL: "https://a.example/in", Header: headerOf(tt.header), Body: []byte(tt.body)}
			if tt.method != "" {
				r.Method = tt.method
			}
			if tt.url != "" {
				r.URL = tt.url
			}
			s, err := Lookup(tt.sender)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := s.(Handshaker).Handshake(r, tt.secrets)
			if ok == tt.no {
				t.Fatalf("a handshake: %v", ok)
			}
			if ok && (got.Status != tt.want.Status || got.ContentType != tt.want.ContentType || string(got.Body) != string(tt.want.Body)) {
				t.Errorf("got %d %s %q, want %d %s %q", got.Status, got.ContentType, got.Body, tt.want.Status, tt.want.ContentType, tt.want.Body)
			}
		})
	}
}

func headerOf(fields map[string]string) http.Header {
	h := http.Header{}
	for name, value := range fields {
		h.Set(name, value)
	}
	return h
}

func TestHandshakeFields(t *testing.T) {
	r := Request{Method: "OPTIONS", Header: headerOf(map[string]string{"Webhook-Request-Origin": "a.example"})}
	answer, _ := cloudevents{}.Handshake(r, nil)
	for field, want := range map[string]string{"WebHook-Allowed-Origin": "a.example", "WebHook-Allowed-Rate": "*", "Allow": "POST"} {
		if got := answer.Header[field]; got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
	if got := echo("x").Header["X-Content-Type-Options"]; got != "nosniff" {
		t.Errorf("an echo may be sniffed: %q", got)
	}
}

// While one secret replaces another, Zoom gets the answer of the one it used.
func TestZoomHandshakeDuringRotation(t *testing.T) {
	const body = `{"payload":{"plainToken":"p"},"event":"endpoint.url_validation"}`
	r := Request{Header: http.Header{}, Body: []byte(body)}
	for _, f := range known(t, "zoom").(zoom).Resign(r, "old", vectors(t)[0].now()) {
		set(&r, f.Name, f.Value)
	}
	got, _ := known(t, "zoom").(zoom).Handshake(r, []string{"new", "old"})
	want, _ := known(t, "zoom").(zoom).Handshake(r, []string{"old"})
	if string(got.Body) != string(want.Body) {
		t.Errorf("got %s, want %s", got.Body, want.Body)
	}
}

func TestDecline(t *testing.T) {
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	tests := []struct {
		name   string
		sender Decliner
		header map[string]string
		body   string
		status int // 0: none of its own
	}{
		{"slack command", known(t, "slack").(Decliner), form, "command=%2Fdeploy", 200},
		{"slack button", known(t, "slack").(Decliner), form, "payload=%7B%7D", 0},
		{"slack event", known(t, "slack").(Decliner), nil, `{"type":"event_callback"}`, 0},
		{"discord command", discord{}, nil, `{"type":2}`, 200},
		{"discord autocomplete", discord{}, nil, `{"type":4}`, 200},
		{"discord event", discord{}, nil, `{"type":1}`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer, ok := tt.sender.Decline(Request{Header: headerOf(tt.header), Body: []byte(tt.body)})
			if ok != (tt.status != 0) || answer.Status != tt.status {
				t.Errorf("got %d, %v; want %d", answer.Status, ok, tt.status)
			}
		})
	}
}
