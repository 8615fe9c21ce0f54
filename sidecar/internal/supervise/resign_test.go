package supervise

import (
	"testing"
	"time"

	"sluice/sidecar/internal/config"
	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/request"
	"sluice/sidecar/internal/webhook"
	"sluice/sidecar/routes"
	"sluice/sidecar/senders"
)

// A held webhook verifies at the time of its replay as it did at its receipt.
func TestResign(t *testing.T) {
	secrets := map[string]string{
		"SLACK_SIGNING_SECRET":  "the new one,the old one",
		"GITLAB_WEBHOOK_TOKEN":  "a plain token,whsec_c2VjcmV0", // the first is no signing key
		"GITHUB_WEBHOOK_SECRET": "does not age",
	}
	parsed, err := routes.Parse("/slack=slack,/gitlab=gitlab,/github=github,/zoom=zoom", routes.Options{Close: true, Secret: func(name string) string { return secrets[name] }})
	if err != nil {
		t.Fatal(err)
	}
	if by := resigners(&config.Config{}, parsed); by != nil {
		t.Errorf("without RESIGN these are signed anew: %v", by)
	}
	by := resigners(&config.Config{Resign: true}, parsed)
	if len(by) != 2 {
		t.Errorf("%d senders are signed anew, want Slack and GitLab", len(by))
	}
	for _, route := range parsed[:2] {
		w := &webhook.Webhook{Head: request.NewHead("POST", route.Path, "h"), Body: []byte(`{"a":1}`)}
		w.Head = w.Head.Add("Webhook-Id", "1").Add("Webhook-Signature", "v1,x") // GitLab's
		request := func() senders.Request {
			return senders.Request{Method: "POST", URL: w.Head.URL(), Header: w.Head, Body: w.Body}
		}
		received := time.Now().Add(-time.Hour)
		key := route.Secrets[len(route.Secrets)-1]
		for _, f := range route.Sender.(senders.Resigner).Resign(request(), key, received) {
			w.Head = w.Head.Set(f.Name, f.Value)
		}
		if err := route.Sender.Verify(request(), route.Secrets, received); err != nil {
			t.Fatalf("%s at its receipt: %v", route, err)
		}
		if err := route.Sender.Verify(request(), route.Secrets, time.Now()); err == nil {
			t.Errorf("%s still verifies after an hour: the test proves nothing", route)
		}
		by[route.Name](w)
		if err := route.Sender.Verify(request(), route.Secrets, time.Now()); err != nil {
			t.Errorf("%s signed anew: %v", route, err)
		}
	}
}

// Each variable is named once, however many routes lack it; a closed route always.
func TestMissingSecretsAreNamedOnce(t *testing.T) {
	parsed, err := routes.Parse("/a=github+unverified,/b=github+unverified,/c=slack,/d=generic+unverified,/e=stripe,/f=stripe", routes.Options{Close: true, Secret: func(name string) string {
		return map[string]string{"SLACK_SIGNING_SECRET": "a secret"}[name]
	}})
	if err != nil {
		t.Fatal(err)
	}
	r, log := replica(t, nobody, gate.PerLane)
	r.useRoutes(parsed)
	r.warnMissingSecrets()
	if all, github := log.Count("No secret"), log.Count("GITHUB_WEBHOOK_SECRET"); all != 1 || github != 1 {
		t.Errorf("%d warnings, %d of them about GitHub, want one", all, github)
	}
	if closed := log.Count("Route has no secret and is closed"); closed != 2 {
		t.Errorf("%d closed routes are told, want 2", closed)
	}
}

// Two routes of one sender sign with a secret each: that of another route would make
// the app refuse what it holds.
func TestResignByRoute(t *testing.T) {
	const file = `routes:
  - {name: account, path: /account, sender: stripe, secrets: [{env: ACCOUNT}]}
  - {name: connect, path: /connect, sender: stripe, secrets: [{env: CONNECT}]}
`
	parsed, err := routes.ParseFile("routes.yaml", []byte(file), routes.Options{Secret: func(name string) string { return "whsec_of_" + name }})
	if err != nil {
		t.Fatal(err)
	}
	by := resigners(&config.Config{Resign: true}, parsed)
	for i, route := range parsed {
		w := &webhook.Webhook{Head: request.NewHead("POST", route.Path, "h"), Body: []byte(`{"a":1}`)}
		by[route.Name](w)
		for j, other := range parsed {
			err := other.Sender.Verify(senders.Request{Method: "POST", URL: w.Head.URL(), Header: w.Head, Body: w.Body}, other.Secrets, time.Now())
			if (err == nil) != (i == j) {
				t.Errorf("signed for %s, verified for %s: %v", route, other, err)
			}
		}
	}
}
