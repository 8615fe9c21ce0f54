package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sluice/infra/testkit"
	"sluice/sidecar/senders"
)

func sign(secret, text string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(text))
	return hex.EncodeToString(m.Sum(nil))
}

func slackSigned(secret, body string) []string {
	at := fmt.Sprint(time.Now().Unix())
	return []string{"X-Slack-Request-Timestamp", at, "X-Slack-Signature", "v0=" + sign(secret, "v0:"+at+":"+body)}
}

// Signatures are checked on arrival, in every state, and the app is told the result.
func TestSignatures(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"GITHUB_WEBHOOK_SECRET": "the new one,the old one", "SLUICE_SECRET": "between"})
	const body = `{"zen":"x"}`
	good := []string{"X-Hub-Signature-256", "sha256=" + sign("the old one", body), "X-GitHub-Delivery", "d-1", "X-GitHub-Event", "push"}
	for _, held := range []bool{false, true} {
		if held {
			a.stop()
		}
		if got := s.post("/webhooks/github", body, good...); got.status/100 != 2 || got.held() != held {
			t.Errorf("rightly signed: %d held=%v", got.status, got.held())
		}
		for name, fields := range map[string][]string{
			"wrong": {"X-Hub-Signature-256", "sha256=" + sign("other", body)}, "none": nil,
			"garbage": {"X-Hub-Signature-256", "x"}, "of another body": {"X-Hub-Signature-256", "sha256=" + sign("the new one", body+" ")},
		} {
			if got := s.post("/webhooks/github", body, fields...); got.status != 401 {
				t.Errorf("%s signature, held=%v: %d, want 401", name, held, got.status)
			}
		}
	}
	rows := db.texts(t, `SELECT source || ' ' || delivery_id || ' ' || event_name || ' ' || verified FROM webhook_queue`)
	if len(rows) != 1 || rows[0] != "github d-1 push github" {
		t.Errorf("rows are %q", rows)
	}
	a.start()
	for i, d := range a.waitAccepted(2) {
		if d.header.Get("Sluice-Verified") != "github" {
			t.Errorf("delivery %d: Sluice-Verified is %q", i, d.header.Get("Sluice-Verified"))
		}
		stamp := senders.Stamp{ID: d.id, Attempt: d.attempt, ReceivedAt: d.header.Get("Sluice-Received-At"), Verified: "github"}
		if got := d.header.Get("Sluice-Signature"); got == "" || got != stamp.Sign("between", []byte(body)) {
			t.Errorf("delivery %d: Sluice-Signature is %q", i, got)
		}
		if at, err := time.Parse(time.RFC3339, d.header.Get("Sluice-Received-At")); err != nil || time.Since(at) > 2*testkit.Patience {
			t.Errorf("delivery %d: Sluice-Received-At is %q", i, d.header.Get("Sluice-Received-At"))
		}
	}
}

// What needs the app's answer is never held: without the app a slash command gets
// an error in Slack's form, and a handshake is answered by the sidecar.
func TestSyncRoutes(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{
		"SLACK_SIGNING_SECRET": "Slack's secret",
		// The budget is long where an answer has to come, and short where none
		// can come.
		"WEBHOOK_ROUTES": "/webhooks/slack/events=slack,/webhooks/slack/commands=slack+sync,/hooks/sync=generic+sync+500ms," +
			"/patient/events=slack+60s,/patient/commands=slack+sync+60s,/patient/sync=generic+sync+60s",
	})
	command := url.Values{"command": {"/deploy"}, "trigger_id": {"1"}}.Encode()
	payload := url.Values{"payload": {`{"type":"block_actions","trigger_id":"2"}`}}.Encode()
	challenge := `{"type":"url_verification","challenge":"3eZbrw1aB"}`
	slack := func(path, body, kind string) answer {
		return s.post(path, body, append(slackSigned("Slack's secret", body), "Content-Type", kind)...)
	}
	const form = "application/x-www-form-urlencoded"
	a.does(func(w http.ResponseWriter, _ *http.Request, _ delivery) int {
		w.Header().Set("X-App", "yes")
		return 200
	})
	for _, c := range []struct{ path, body, kind string }{
		{"/patient/commands", command, form}, {"/patient/events", payload, form},
		{"/patient/events", challenge, "application/json"}, {"/patient/sync", "{}", "application/json"},
	} {
		if got := slack(c.path, c.body, c.kind); got.status != 200 || got.header.Get("X-App") != "yes" {
			t.Errorf("%s %.30s: %d, not the app's answer", c.path, c.body, got.status)
		}
	}
	for name, away := range map[string]func(){"503": func() { a.does(always(503)) }, "gone": a.stop} {
		away()
		if got := slack("/webhooks/slack/commands", command, form); got.status != 200 || !strings.Contains(got.body, "ephemeral") {
			t.Errorf("%s: command: %d %q", name, got.status, got.body)
		}
		if got := slack("/webhooks/slack/events", payload, form); got.status != 503 {
			t.Errorf("%s: interactive payload: %d %q, want 503", name, got.status, got.body)
		}
		if got := slack("/webhooks/slack/events", challenge, "application/json"); got.status != 200 || got.body != "3eZbrw1aB" {
			t.Errorf("%s: challenge: %d %q", name, got.status, got.body)
		}
		if got := s.post("/webhooks/slack/events", challenge, "Content-Type", "application/json"); got.status != 401 {
			t.Errorf("%s: unsigned challenge: %d, want 401", name, got.status)
		}
		if got := slack("/hooks/sync", "{}", "application/json"); got.status != 503 || got.header.Get("Retry-After") == "" {
			t.Errorf("%s: sync: %d", name, got.status)
		}
		if got := slack("/webhooks/slack/events", `{"type":"event_callback","event_id":"E`+name+`"}`, "application/json"); !got.held() {
			t.Errorf("%s: an event: %d %q, want it held", name, got.status, got.body)
		}
		if name == "gone" {
			a.start()
		}
		a.does(always(200))
	}
	// An app that is slow for a sync route gets its budget and no more.
	s.waitState("passing")
	release := make(chan struct{})
	a.does(func(http.ResponseWriter, *http.Request, delivery) int { <-release; return 200 })
	// Its sender's own is 8 s.
	if got := s.post("/hooks/sync", "{}"); got.status != 503 || got.took < 500*time.Millisecond || got.took > 8*time.Second {
		t.Errorf("slow sync: %d after %v", got.status, got.took)
	}
	close(release)
	a.does(always(200))
	testkit.Eventually(t, "the events are delivered", func() bool { return db.active() == 0 })
	if n := db.number(`SELECT count(*) FROM webhook_queue`); n != 2 {
		t.Errorf("%d rows, want the two events", n)
	}
}

// A copy of a webhook that is still held is acknowledged and not delivered twice. A
// later redelivery is delivered.
func TestCopies(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a)
	a.stop()
	first := s.mustHold("/webhooks/github", "{}", "X-GitHub-Delivery", "d-1")
	again := s.mustHold("/webhooks/github", "{}", "X-GitHub-Delivery", "d-1")
	other := s.mustHold("/webhooks/github", "{ }", "X-GitHub-Delivery", "d-1")
	s.mustHold("/hooks/x", "{}")
	s.mustHold("/hooks/x", "{}")
	if a, b := first.header.Get("Sluice-Id"), again.header.Get("Sluice-Id"); a == "" || a != b || !strings.Contains(again.body, a) {
		t.Errorf("ids %q and %q, body %q", a, b, again.body)
	}
	if first.header.Get("Sluice-Id") == other.header.Get("Sluice-Id") {
		t.Error("another body was taken for a copy")
	}
	a.start()
	a.waitAccepted(4)
	s.waitState("passing")
	s.mustPass("/webhooks/github", "{}", "X-GitHub-Delivery", "d-1")
	a.stop()
	s.mustHold("/webhooks/github", "{}", "X-GitHub-Delivery", "d-1")
	a.start()
	a.waitAccepted(6)
	testkit.Eventually(t, "nothing is left", func() bool { return db.active() == 0 })
	if n := len(a.accepted()); n != 6 {
		t.Errorf("%d delivered, want 6", n)
	}
}
