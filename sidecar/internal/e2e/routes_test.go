package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/infra/testkit"
	"sluice/sidecar/senders"
)

// Routes of one sender are told apart by their names: in their secrets, rows, lanes
// and metrics, and by the app, which gets the name signed.
func TestRouteNames(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{
		"WEBHOOK_ROUTES": "/hooks/ci=generic:X-Sig:CI_SECRET+name=ci,/hooks/pay=generic:X-Sig:PAY_SECRET+name=pay",
		"CI_SECRET":      "secret of ci", "PAY_SECRET": "secret of pay", "SLUICE_SECRET": "between the two", "LANES": "",
	})
	signed := func(secret, body string) []string { return []string{"X-Sig", sign(secret, body), "X-Delivery-Id", "1"} }
	if got := s.post("/hooks/pay", "{}", signed("secret of ci", "{}")...); got.status != http.StatusUnauthorized {
		t.Errorf("who holds the secret of /hooks/ci fires /hooks/pay: %d", got.status)
	}
	s.mustPass("/hooks/pay?live", "{}", signed("secret of pay", "{}")...)
	a.stop()
	s.mustHold("/hooks/ci", "{}", signed("secret of ci", "{}")...)
	s.mustHold("/hooks/pay", "{}", signed("secret of pay", "{}")...)
	rows := db.texts(t, `SELECT source || ' ' || lane || ' ' || verified FROM webhook_queue ORDER BY id`)
	if got := strings.Join(rows, ", "); got != "ci ci generic, pay pay generic" {
		t.Errorf("the rows are %s", got)
	}
	// A poisoned message of one route delays none of the other.
	a.does(func(_ http.ResponseWriter, r *http.Request, _ delivery) int {
		if r.URL.Path == "/hooks/ci" {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	a.start()
	testkit.Eventually(t, "pay is delivered", func() bool { return len(a.accepted()) == 2 })
	for _, d := range a.deliveries() {
		route, err := senders.VerifyRoute(d.header, d.method, d.uri, []string{"between the two"})
		if err != nil || !strings.HasPrefix(d.uri, "/hooks/"+route) {
			t.Errorf("%s: route %q, %v", d.uri, route, err)
		}
	}
	if _, body := s.metrics(); !strings.Contains(body, `sluice_webhooks_total{outcome="rejected",source="pay"} 1`) {
		t.Error("the metrics do not name the route")
	}
}

// Without configuration each repository is a lane.
func TestNaturalLanes(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"LANES": "", "WEBHOOK_ROUTES": "/webhooks/github=github,/bots=github+name=bots"})
	a.stop()
	s.mustHold("/webhooks/github", `{"repository":{"full_name":"a/one"}}`)
	s.mustHold("/webhooks/github", `{"repository":{"full_name":"a/two"}}`)
	s.mustHold("/webhooks/github", `{"zen":"x"}`)
	s.mustHold("/bots", `{"repository":{"full_name":"a/one"}}`)
	got := strings.Join(db.texts(t, `SELECT source || ':' || lane FROM webhook_queue ORDER BY id`), ", ")
	if want := "github:github/a/one, github:github/a/two, github:github, bots:bots/a/one"; got != want {
		t.Errorf("the lanes are %s, want %s", got, want)
	}
}

// A default route without its secret accepts nothing, and says so. Other paths are no
// routes.
func TestClosedRoutes(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"WEBHOOK_ROUTES": "", "ALLOW_UNVERIFIED": "", "LANES": "", "STRIPE_WEBHOOK_SECRET": "whsec_stripe"})
	for range 2 {
		for _, request := range []string{
			"POST /webhooks/github HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
			"POST /webhooks/%67ithub HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", // net/http's
			"GET /webhooks/slack/events HTTP/1.1\r\nHost: h\r\n\r\n",
			"PUT /webhooks/slack/commands HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
		} {
			if got := s.raw(request); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
				t.Errorf("%.40q: %d", request, got.status)
			}
		}
		a.stop() // and nothing is held either
	}
	if got := s.post("/webhooks/stripe", "{}"); got.status != http.StatusUnauthorized {
		t.Errorf("a route with its secret: %d", got.status)
	}
	if n := db.number(`SELECT count(*) FROM webhook_queue`); n != 0 || len(a.deliveries()) != 0 {
		t.Errorf("%d rows, %d deliveries", n, len(a.deliveries()))
	}
	if got := s.post("/hooks/x", "{}"); got.status != http.StatusServiceUnavailable || got.held() {
		t.Errorf("/hooks/x is still a route: %d", got.status)
	}
	if n := s.status().refused("/webhooks/github", "no_secret"); n != 4 {
		t.Errorf("%d refusals in the status", n)
	}
	if lines := s.Output.Records("Route has no secret and is closed, its webhooks get 503"); len(lines) != 3 || lines[0]["variable"] != "GITHUB_WEBHOOK_SECRET" {
		t.Errorf("logged %v", lines)
	}
	out, _ := runOnce(t, nil, "status", "--addr", s.control)
	for _, want := range []string{"/webhooks/github (github) has no secret: set GITHUB_WEBHOOK_SECRET", "/webhooks/slack/commands (slack)"} {
		if !strings.Contains(out, want) {
			t.Errorf("the status lacks %q: %s", want, out)
		}
	}
}

// A configuration that would leave a route open ends the start.
func TestUnsecuredRoutesRefuseTheStart(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{
		"/a=github":  "GITHUB_WEBHOOK_SECRET",
		"/a=generic": "+unverified",
		"/a=slack":   "SLACK_SIGNING_SECRET_2",
	} {
		out, code := runOnce(t, env{"DATABASE_URL": "postgres://u:p@h/db", "WEBHOOK_ROUTES": setting, "SLACK_SIGNING_SECRET": "v1,whsec_MfKQ9r8GKYqrTwjU"}, "serve")
		if code != 2 || !strings.Contains(out, want) || strings.Contains(out, "whsec_") {
			t.Errorf("%s: exit code %d: %s", setting, code, out)
		}
	}
}

// On a route with retry an error of the app is held and tried again; elsewhere the
// sender gets it.
func TestRetry(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"WEBHOOK_ROUTES": "/again=generic+retry,/back=generic", "LANES": ""})
	for i, status := range []int{500, 408, 425, 429, 507} {
		a.does(func(w http.ResponseWriter, _ *http.Request, d delivery) int {
			if d.replayed == "true" {
				return http.StatusOK
			}
			return status
		})
		body := fmt.Sprintf(`{"n":%d}`, i)
		if got := s.post("/back", body); got.status != status {
			t.Errorf("/back: %d, want the app's %d", got.status, status)
		}
		id := s.mustHold("/again", body).header.Get("Sluice-Id")
		testkit.Eventually(t, "it is delivered", func() bool { return db.active() == 0 })
		last := a.accepted()[i]
		if last.id != id || last.attempt != "2" || last.body != body {
			t.Errorf("%d: %s was delivered, attempt %s", status, last.body, last.attempt)
		}
	}
	a.does(always(http.StatusUnprocessableEntity))
	if got := s.post("/again", "{}"); got.status != http.StatusUnprocessableEntity {
		t.Errorf("what retrying cannot fix: %d", got.status)
	}
}

// The routes of a file have their own secrets, methods, networks and sizes, and
// follow the file.
func TestRoutesFile(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	file := filepath.Join(t.TempDir(), "routes.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	const routes = `routes:
  - {name: ci, path: /ci, sender: generic, header: X-Sig, secrets: [{env: CI_SECRET}], methods: [POST, PUT], max_body_bytes: 100}
  - {name: near, path: /near, sender: generic, verify: none, networks: [203.0.113.0/24]}
`
	write(routes)
	s := passing(t, db, a, env{"WEBHOOK_ROUTES": "", "ROUTES_FILE": file, "ALLOW_UNVERIFIED": "", "LANES": "", "CI_SECRET": "v1,with a comma", "TRUSTED_HOPS": "1"})
	send := func(method, path, body string, fields ...string) int {
		t.Helper()
		req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return do(req, fields...).status
	}
	for _, c := range []struct {
		method, path, body string
		fields             []string
		want               int
	}{
		{"POST", "/ci", "{}", []string{"X-Sig", sign("v1,with a comma", "{}")}, 200},
		{"PUT", "/ci", "{}", []string{"X-Sig", sign("v1,with a comma", "{}")}, 200},
		{"PUT", "/ci", "{}", []string{"X-Sig", sign("with a comma", "{}")}, 401},
		{"GET", "/ci", "", nil, 405},
		{"DELETE", "/ci", "", nil, 405},
		{"POST", "/ci", strings.Repeat("x", 101), []string{"X-Sig", "x"}, 413},
		{"POST", "/near", "{}", []string{"X-Forwarded-For", "203.0.113.7"}, 200},
		{"POST", "/near", "{}", []string{"X-Forwarded-For", "203.0.113.7, 198.51.100.1"}, 403}, // the first is the sender's own claim
		{"POST", "/near", "{}", []string{"X-Forwarded-For", "198.51.100.1:80"}, 403},
		{"GET", "/near", "", []string{"X-Forwarded-For", "198.51.100.1"}, 403},
		{"POST", "/near", "{}", nil, 403},
	} {
		if got := send(c.method, c.path, c.body, c.fields...); got != c.want {
			t.Errorf("%s %s %v: %d, want %d", c.method, c.path, c.fields, got, c.want)
		}
	}
	a.stop()
	if got := send("PUT", "/ci", "held", "X-Sig", sign("v1,with a comma", "held")); got != 202 {
		t.Errorf("PUT while the app is away: %d", got)
	}
	a.start()
	s.waitState("passing")
	if d := a.accepted(); d[len(d)-1].method != "PUT" || d[len(d)-1].body != "held" {
		t.Errorf("delivered %s %s", d[len(d)-1].method, d[len(d)-1].body)
	}
	write("routes: [{name: A}]")
	s.WaitRecords(1, "Routes not reloaded, the old ones stay in force")
	if got := send("POST", "/near", "{}", "X-Forwarded-For", "203.0.113.7"); got != 200 {
		t.Errorf("a broken file: %d", got)
	}
	write(routes + "  - {name: more, path: /more, sender: github, secrets: [{env: CI_SECRET}]}\n")
	s.WaitRecords(1, "Routes reloaded")
	if got := send("POST", "/more", "{}"); got != 401 {
		t.Errorf("an added route: %d", got)
	}
	if n := s.status().refused("/ci", "signature_wrong"); n != 1 {
		t.Errorf("%d refusals are remembered, want 1", n)
	}
	write("routes: [{name: A}]")
	out, code := runOnce(t, env{"DATABASE_URL": "postgres://u:p@h/db", "ROUTES_FILE": file}, "serve")
	if code != 2 || !strings.Contains(out, file+":1: name") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if out, code := runOnce(t, env{"DATABASE_URL": "postgres://u:p@h/db", "ROUTES_FILE": file, "WEBHOOK_ROUTES": "/a=github+unverified"}, "serve"); code != 2 || !strings.Contains(out, "both set") {
		t.Errorf("exit code %d: %s", code, out)
	}
}
