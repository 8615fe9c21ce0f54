package service_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/infra/testkit"
	"sluice/sidecar/senders"
)

const (
	slackSecret  = "slack-secret"
	sluiceSecret = "between-the-two"
)

// slackFields signs a body as Slack does; at is the time of the signature.
func slackFields(body string, at time.Time) []string {
	ts := fmt.Sprint(at.Unix())
	mac := hmac.New(sha256.New, []byte(slackSecret))
	mac.Write([]byte("v0:" + ts + ":" + body))
	return []string{"X-Slack-Request-Timestamp", ts, "X-Slack-Signature", "v0=" + hex.EncodeToString(mac.Sum(nil))}
}

// sidecarFields signs a body as the sidecar does.
func sidecarFields(id, verified, secret, body string) []string {
	s := senders.Stamp{ID: id, Attempt: "3", ReceivedAt: "2026-11-01T10:00:00.5Z", Verified: verified}
	fields := []string{"Sluice-Id", s.ID, "Sluice-Attempt", s.Attempt, "Sluice-Received-At", s.ReceivedAt, "Sluice-Signature", s.Sign(secret, []byte(body))}
	if verified != "" {
		fields = append(fields, "Sluice-Verified", verified)
	}
	return fields
}

// A webhook that the sidecar verified when it arrived is accepted hours later, when
// Slack's own signature is too old. Only the sidecar's signature allows that.
func TestTrust(t *testing.T) {
	db := testkit.Database(t)
	p := start(t, "DATABASE_URL="+db, "SLACK_SIGNING_SECRET="+slackSecret, "SLUICE_SECRET=old,"+sluiceSecret)
	pool := openPool(t, db)
	now, before := time.Now(), time.Now().Add(-6*time.Hour)
	tests := []struct {
		name   string
		fields func(body string) []string
		code   int
	}{
		{"fresh from Slack", func(b string) []string { return slackFields(b, now) }, 202},
		{"too old", func(b string) []string { return slackFields(b, before) }, 401},
		{"unsigned", func(string) []string { return nil }, 401},
		{"too old, signed by the sidecar", func(b string) []string {
			return append(slackFields(b, before), sidecarFields("signed-1", "slack", sluiceSecret, b)...)
		}, 202},
		{"signed by the sidecar, not verified", func(b string) []string {
			return append(slackFields(b, before), sidecarFields("signed-2", "", sluiceSecret, b)...)
		}, 401},
		{"verified as another sender", func(b string) []string {
			return append(slackFields(b, before), sidecarFields("signed-3", "github", sluiceSecret, b)...)
		}, 401},
		{"Sluice-Verified added afterwards", func(b string) []string {
			return append(append(slackFields(b, before), sidecarFields("signed-4", "", sluiceSecret, b)...), "Sluice-Verified", "slack")
		}, 401},
		{"signed with another secret", func(b string) []string {
			return append(slackFields(b, before), sidecarFields("signed-5", "slack", "guess", b)...)
		}, 401},
		{"fresh, id not signed", func(b string) []string { return append(slackFields(b, now), "Sluice-Id", "chosen") }, 202},
	}
	for i, tt := range tests {
		body := fmt.Sprintf(`{"type":"event_callback","event_id":"Ev%d","event":{"type":"message"}}`, i)
		if code, answer := p.send("/webhooks/slack/events", []byte(body), tt.fields(body)...); code != tt.code {
			t.Errorf("%s: %d %s, want %d", tt.name, code, answer, tt.code)
		}
	}
	if n := count(t, pool, `SELECT count(*) FROM app_webhooks WHERE sluice_id = 'signed-1' AND received_at = '2026-11-01T10:00:00.5Z'`); n != 1 {
		t.Error("the sidecar's id and time of receipt are not stored")
	}
	if n := count(t, pool, `SELECT count(*) FROM app_webhooks WHERE sluice_id = 'chosen'`); n != 0 {
		t.Error("an outsider chose the id")
	}
}

func TestHandshakesAndMethods(t *testing.T) {
	p := start(t, "DATABASE_URL="+testkit.Database(t), "SLACK_SIGNING_SECRET="+slackSecret,
		"WEBHOOK_ROUTES=/webhooks/slack/events=slack,/meta=meta,/hooks/*=generic,/one/=generic,/cmd=slack+sync", "META_VERIFY_TOKEN=the token")
	body := `{"type":"url_verification","challenge":"abc"}`
	if code, answer := p.send("/webhooks/slack/events", []byte(body), slackFields(body, time.Now())...); code != 200 || !strings.Contains(answer, "abc") {
		t.Errorf("Slack's challenge: %d %s", code, answer)
	}
	if code, answer := p.get("/meta?hub.mode=subscribe&hub.verify_token=the%20token&hub.challenge=123"); code != 200 || answer != "123" {
		t.Errorf("Meta's challenge: %d %s", code, answer)
	}
	if code, _ := p.get("/hooks/x"); code != http.StatusMethodNotAllowed {
		t.Errorf("GET on a webhook's path: %d", code)
	}
	if code, _ := p.send("/hooks/a/b", []byte("{}")); code != 202 {
		t.Errorf("below /hooks/: %d", code)
	}
	if code, _ := p.send("/one/", []byte("{}")); code != 202 {
		t.Errorf("/one/: %d", code)
	}
	if code, _ := p.send("/one/more", []byte("{}")); code != http.StatusNotFound {
		t.Errorf("below a path without a *: %d", code)
	}
	if code, _ := p.send("/cmd", []byte("x=1")); code != http.StatusNotFound {
		t.Errorf("a sync route: %d", code)
	}
}

// Bodies beyond MAX_INFLIGHT_BYTES get 503.
func TestInflightBytes(t *testing.T) {
	p := start(t, "DATABASE_URL="+testkit.Database(t), "MAX_BODY_BYTES=1000", "MAX_INFLIGHT_BYTES=1000")
	if code, _ := p.post("fits", strings.Repeat("x", 1000)); code != 202 {
		t.Errorf("a body of the limit: %d", code)
	}
	if code, _ := p.post("too large", strings.Repeat("x", 1001)); code != 413 {
		t.Errorf("one byte more: %d", code)
	}
	// A sender that stops halfway keeps its share of MAX_INFLIGHT_BYTES.
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintf(conn, "POST /hooks/x HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n%400s", ""); err != nil {
		t.Fatal(err)
	}
	p.wait("slow request", func() bool {
		_, body := p.get("/drain")
		return strings.Contains(body, `"activeRequests":1`)
	})
	p.wait("refusal", func() bool { code, _ := p.post("beside", strings.Repeat("x", 500)); return code == 503 })
	_ = conn.Close()
	p.wait("free bytes", func() bool { code, _ := p.post("after", strings.Repeat("x", 500)); return code == 202 })
}
