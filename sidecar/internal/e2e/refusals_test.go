package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sluice/infra/testkit"
)

const refusedMessage = "Webhook refused at the door"

// Every refusal is reported by its reason: once in the log, in the status and in a
// metric. Nothing that was sent is in it.
func TestRefusalsAreTold(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{
		"GITHUB_WEBHOOK_SECRET": "the right one", "SLACK_SIGNING_SECRET": "the right one", "BODY_TIMEOUT": "1s", "MAX_BODY_BYTES": "1000000", "HOLD_MAX_UNVERIFIED_BYTES": "1000",
		"WEBHOOK_ROUTES": "/webhooks/github=github,/webhooks/slack=slack,/webhooks/commands=slack+sync,/hooks/*=generic",
	})
	wrong := "sha256=" + sign("wrong", "{}")
	for range 5 {
		s.post("/webhooks/github", "{}", "X-Hub-Signature-256", wrong)
	}
	right := "sha256=" + sign("the right one", "{}")
	for _, path := range []string{"/webhooks/github", "/%77ebhooks/github"} { // the second is net/http's
		if got := s.post(path, "{}", "X-Hub-Signature-256", right, "x-hub-signature-256", wrong); got.status != http.StatusUnauthorized {
			t.Errorf("%s with two signatures: %d", path, got.status)
		}
	}
	s.post("/webhooks/github", "{}")
	old := fmt.Sprint(time.Now().Add(-time.Hour).Unix())
	s.post("/webhooks/slack", "{}", "X-Slack-Request-Timestamp", old, "X-Slack-Signature", "v0="+sign("the right one", "v0:"+old+":{}"))
	s.post("/hooks/x", strings.Repeat("x", 1_000_001))
	slow := s.dial()
	io.WriteString(slow, "POST /hooks/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nx")
	if got := readAnswer(bufio.NewReader(slow)); got.status != http.StatusRequestTimeout {
		t.Errorf("slow: %d", got.status)
	}
	cut := s.halfClosed(t, "POST /hooks/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nx")
	readAnswer(bufio.NewReader(cut))
	h2c := overH2C(t)
	resp, err := h2c.Do(&http.Request{Method: "POST", URL: &url.URL{Scheme: "http", Host: s.addr, Opaque: "//" + s.addr + "/hooks/a b"}, Header: http.Header{}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a target with a space over HTTP/2: %d", resp.StatusCode)
	}
	a.stop()
	command := "command=%2Fdeploy"
	s.post("/webhooks/commands", command, append(slackSigned("the right one", command), "Content-Type", "application/x-www-form-urlencoded")...)
	s.mustHold("/hooks/x", strings.Repeat("x", 2000))
	testkit.Eventually(t, "the queue is full", func() bool { return s.post("/hooks/x", "x").status == 503 })

	for _, want := range []struct {
		route, source, reason string
		count                 int64 // 0: any
		told                  bool
	}{
		{"/webhooks/github", "github", "signature_wrong", 7, true}, {"/webhooks/github", "github", "signature_missing", 1, true}, {"/webhooks/slack", "slack", "signature_old", 1, true},
		{"/hooks/*", "generic", "body_too_large", 1, true}, {"/hooks/*", "generic", "body_slow", 1, true}, {"/hooks/*", "generic", "body_broken", 1, true},
		{"/hooks/*", "generic", "malformed", 1, true}, {"/webhooks/commands", "slack", "app_away", 1, false}, {"/hooks/*", "generic", "queue_full", 0, false},
	} {
		got := s.status().refused(want.route, want.reason)
		if got == 0 || want.count > 0 && got != want.count {
			t.Errorf("%s, %s: status has %d", want.route, want.reason, got)
		}
		metric := fmt.Sprintf("sluice_refused_total{reason=%q,source=%q} %d", want.reason, want.source, got)
		if _, body := s.metrics(); !strings.Contains(body, metric) && want.count > 0 {
			t.Errorf("no metric %s", metric)
		}
		told := 0
		for _, line := range s.Output.Records(refusedMessage) {
			if line["path"] == want.route && line["reason"] == want.reason && line["source"] == want.source && line["level"] == "WARN" {
				told++
			}
		}
		if (told == 1) != want.told { // the log has one line a minute
			t.Errorf("%s, %s: %d lines", want.route, want.reason, told)
		}
	}
	out, code := runOnce(t, nil, "status", "--addr", s.control)
	if code != 0 || !strings.Contains(out, "7 at /webhooks/github (github): signature_wrong") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if strings.Contains(s.Output.String(), wrong) || strings.Contains(s.Output.String(), sign("wrong", "{}")) {
		t.Error("a signature is in the log")
	}
}

// metrics returns the replica's metrics, from the probe listener.
func (s *sidecar) metrics() (status int, body string) {
	resp, err := client.Get("http://" + s.probes + "/metrics")
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Error(err)
	}
	return resp.StatusCode, string(text)
}

// A webhook on a path without a route goes to the app like any request, and the log
// says how to protect it.
func TestWebhookBesideEveryRoute(t *testing.T) {
	t.Parallel()
	const configured = "/webhooks/github=github,/hooks/*=generic"
	s, _ := general(t, http.NotFoundHandler(), env{"WEBHOOK_ROUTES": configured})
	for range 3 {
		if got := s.post("/api/github/webhooks", "{}", "X-GitHub-Event", "push"); got.status != 404 {
			t.Errorf("not the app's answer: %d", got.status)
		}
	}
	s.post("/api/slack", "{}", "X-Slack-Signature", "v0=x")
	s.post("/api/form", "a=b")
	s.get("/api/page", "X-GitHub-Event", "push")
	s.post("/hooks/x", "{}", "X-GitHub-Event", "push")
	const message = "Webhook came to a path that is no route and is not protected"
	lines := s.WaitRecords(2, message)
	add := "WEBHOOK_ROUTES=" + configured + ",/api/github/webhooks=github"
	if len(lines) != 2 || lines[0]["add"] != add || lines[0]["path"] != "/api/github/webhooks" || lines[0]["level"] != "WARN" || lines[1]["sender"] != "slack" {
		t.Errorf("logged %v", lines)
	}
	st := s.status()
	if len(st.Unrouted) != 2 || st.Unrouted[0].Count != 3 || st.Unrouted[0].Add != add || st.Unrouted[0].Sender != "github" || st.Unrouted[1].Path != "/api/slack" {
		t.Errorf("status has %+v", st.Unrouted)
	}
	if out, _ := runOnce(t, nil, "status", "--addr", s.control); !strings.Contains(out, add) || !strings.Contains(out, "3 at /api/github/webhooks") {
		t.Errorf("status prints %s", out)
	}
	if _, body := s.metrics(); !strings.Contains(body, `sluice_unrouted_webhooks_total{sender="github"} 3`) {
		t.Error("no metric")
	}
	// The advice works.
	route, _ := strings.CutPrefix(add, "WEBHOOK_ROUTES=")
	protected, app := general(t, http.NotFoundHandler(), env{"WEBHOOK_ROUTES": route})
	app.stop()
	protected.mustHold("/api/github/webhooks", "{}", "X-GitHub-Event", "push")
	// Requests on arbitrary paths fill neither the log nor the status.
	for i := range 50 {
		s.post(fmt.Sprintf("/made/up/%d", i), "{}", "X-GitHub-Event", "push")
	}
	s.post("/made,up=github*", "{}", "X-GitHub-Event", "push")
	if st := s.status(); len(st.Unrouted) > 21 || st.Unrouted[len(st.Unrouted)-1].Path != "" || st.Unrouted[len(st.Unrouted)-1].Count != 51-18 {
		t.Errorf("status has %d paths: %+v", len(st.Unrouted), st.Unrouted[len(st.Unrouted)-1])
	}
	if n := len(s.Output.Records(message)); n > 21 {
		t.Errorf("%d lines", n)
	}
}
