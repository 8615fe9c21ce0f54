package e2e

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/sidecar/senders"
)

// schemed is a sender that is only a scheme, with its signature computed as the
// vendor's page says, without package senders.
type schemed struct {
	name, variable string
	at             string // the field with the time, "" for a sender that signs none
	refused        int    // what a wrong signature gets
	sign           func(secret, url, body string, now time.Time) []string
}

func inBase64(digits string) string {
	sum, err := hex.DecodeString(digits)
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(sum)
}

var schemedSenders = []schemed{
	{"pagerduty", "PAGERDUTY_WEBHOOK_SECRET", "", 503, func(secret, _, body string, _ time.Time) []string {
		return []string{"X-PagerDuty-Signature", "v1=" + strings.Repeat("0", 64) + ",v1=" + sign(secret, body)}
	}},
	{"paddle", "PADDLE_WEBHOOK_SECRET", "Paddle-Signature", 401, func(secret, _, body string, now time.Time) []string {
		at := fmt.Sprint(now.Unix())
		return []string{"Paddle-Signature", "ts=" + at + ";h1=" + sign(secret, at+":"+body)}
	}},
	{"box", "BOX_SIGNATURE_KEY", "Box-Delivery-Timestamp", 401, func(secret, _, body string, now time.Time) []string {
		at := now.Format(time.RFC3339)
		return []string{"Box-Delivery-Timestamp", at, "Box-Signature-Secondary", inBase64(sign(secret, body+at))}
	}},
	{"twitch", "TWITCH_EVENTSUB_SECRET", "Twitch-Eventsub-Message-Timestamp", 401, func(secret, _, body string, now time.Time) []string {
		at := now.UTC().Format(time.RFC3339Nano)
		return []string{"Twitch-Eventsub-Message-Id", "t-1", "Twitch-Eventsub-Message-Timestamp", at, "Twitch-Eventsub-Message-Signature", "sha256=" + sign(secret, "t-1"+at+body)}
	}},
	{"hubspot", "HUBSPOT_CLIENT_SECRET", "X-HubSpot-Request-Timestamp", 401, func(secret, url, body string, now time.Time) []string {
		at := fmt.Sprint(now.UnixMilli())
		return []string{"X-HubSpot-Request-Timestamp", at, "X-HubSpot-Signature-v3", inBase64(sign(secret, "POST"+url+body+at))}
	}},
}

// A sender that is a scheme is passed on, held, delivered with a signature of the
// time of the replay, and refused when forged or too old.
func TestSchemes(t *testing.T) {
	t.Parallel()
	settings, routes := env{"RESIGN": "true"}, []string{}
	for _, v := range schemedSenders {
		settings[v.variable] = "secret of " + v.name
		routes = append(routes, "/in/"+v.name+"="+v.name)
	}
	settings["WEBHOOK_ROUTES"] = strings.Join(routes, ",")
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, settings)
	body := func(v schemed, n int) string { return fmt.Sprintf(`{"id":"%s-%d"}`, v.name, n) }
	early := time.Now().Add(-2 * time.Minute)
	for _, held := range []bool{false, true} {
		if held {
			a.stop()
		}
		for i, v := range schemedSenders {
			path, secret, text := "/in/"+v.name, "secret of "+v.name, body(v, i)
			if held {
				text = body(v, 100+i)
			}
			if got := s.post(path, text, v.sign(secret, s.url+path, text, early)...); got.status/100 != 2 || got.held() != held {
				t.Errorf("%s: %d held=%v", v.name, got.status, got.held())
			}
			for what, fields := range map[string][]string{
				"by another secret": v.sign("another", s.url+path, text, early),
				"of another body":   v.sign(secret, s.url+path, text+" ", early),
				"unsigned":          nil,
			} {
				if got := s.post(path, text, fields...); got.status != v.refused || (got.header.Get("Retry-After") != "") != (v.refused == 503) {
					t.Errorf("%s %s: %d, want %d", v.name, what, got.status, v.refused)
				}
			}
			if v.at == "" {
				continue
			}
			if got := s.post(path, text, v.sign(secret, s.url+path, text, early.Add(-time.Hour))...); got.status != v.refused {
				t.Errorf("%s of an hour ago: %d", v.name, got.status)
			}
		}
	}
	a.start()
	for _, d := range a.waitAccepted(2 * len(schemedSenders)) {
		name := strings.TrimPrefix(d.uri, "/in/")
		sender, err := senders.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		// At the end of the first signature's tolerance only a fresh one verifies.
		now := time.Now()
		if d.replayed == "true" {
			now = early.Add(5*time.Minute + time.Second)
			if name == "box" || name == "twitch" {
				now = early.Add(10*time.Minute + time.Second)
			}
		}
		r := senders.Request{Method: d.method, URL: s.url + d.uri, Header: d.header, Body: []byte(d.body)}
		if err := sender.Verify(r, []string{"secret of " + name}, now); err != nil || d.header.Get("Sluice-Verified") != name {
			t.Errorf("%s, replayed %q: %v, Sluice-Verified %q", name, d.replayed, err, d.header.Get("Sluice-Verified"))
		}
	}
}
