package service_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/infra/testkit"
	"sluice/sidecar/senders"
)

// routeFields signs the route's name as the sidecar does, for a POST.
func routeFields(id, route, secret, target string) []string {
	s := senders.RouteStamp{ID: id, Route: route, Method: "POST", Target: target}
	return []string{"Sluice-Route", route, "Sluice-Route-Signature", s.Sign(secret)}
}

// The sidecar's word counts on the route that it signed: not on another one with
// the same sender, and not for another path or query. An earlier sidecar signs none.
// A route without a secret takes nothing else.
func TestRouteTrust(t *testing.T) {
	t.Parallel()
	db := testkit.Database(t)
	p := start(t, "DATABASE_URL="+db, "SLUICE_SECRET="+sluiceSecret, "ALLOW_UNVERIFIED=false",
		"WEBHOOK_ROUTES=/pay=slack+name=pay,/ci=slack+name=ci,/any=generic+unverified")
	aged := slackFields("{}", time.Now().Add(-6*time.Hour))
	signed := func(id, verified, route, path string) []string {
		return append(append(aged[:len(aged):len(aged)], sidecarFields(id, verified, sluiceSecret, "{}")...), routeFields(id, route, sluiceSecret, path)...)
	}
	tests := []struct {
		name, path string
		fields     []string
		code       int
	}{
		{"verified on this route", "/pay?a=1", signed("r1", "slack", "pay", "/pay?a=1"), 202},
		{"by an earlier sidecar", "/pay", append(aged[:len(aged):len(aged)], sidecarFields("r2", "slack", sluiceSecret, "{}")...), 202},
		{"not verified", "/pay", signed("r3", "", "pay", "/pay"), 503},
		{"verified on another route", "/pay", signed("r4", "slack", "ci", "/pay"), 503},
		{"signed for another path", "/pay", signed("r5", "slack", "pay", "/ci"), 401},
		{"signed for another query", "/pay?a=2", signed("r6", "slack", "pay", "/pay?a=1"), 401},
		{"signed with another secret", "/pay", append(sidecarFields("r7", "slack", sluiceSecret, "{}"), routeFields("r7", "pay", "guess", "/pay")...), 401},
		{"from nobody", "/pay", aged, 503},
		{"from nobody, where anybody may send", "/any", nil, 202},
		{"with a name of its own, where anybody may send", "/any", signed("r8", "", "other", "/any"), 202},
	}
	for _, tt := range tests {
		if code, answer := p.send(tt.path, []byte("{}"), tt.fields...); code != tt.code {
			t.Errorf("%s: %d %s, want %d", tt.name, code, answer, tt.code)
		}
	}
}

// Whoever holds the secret of one generic route starts only its hooks, and uses up no
// delivery id of another's. Hooks see which route it was; a command wants a verified
// webhook unless its hook says otherwise.
func TestHooksByRoute(t *testing.T) {
	t.Parallel()
	dir, db := t.TempDir(), testkit.Database(t)
	file := filepath.Join(dir, "hooks.yaml")
	write(t, file, fmt.Sprintf(`
hooks:
  - {name: pay, route: pay, action: {exec: {shell: 'echo "pay:$SLUICE_ROUTE:$SLUICE_METHOD:$SLUICE_PATH:$SLUICE_QUERY:$SLUICE_VERIFIED:$WHO" >> %[1]s', env: {WHO: "{{query.who}}-{{verified}}"}}}}
  - {name: ci, when: route == "ci" && path startsWith "/hooks/ci" && method == "POST", action: {exec: {shell: 'echo ci >> %[1]s'}}}
  - {name: open, route: open, require_verified: false, action: {exec: {shell: 'echo open >> %[1]s'}}}
  - {name: nowhere, route: pays, action: {log: {}}}
  - {name: never, route: open, action: {exec: {shell: 'echo never >> %[1]s'}}}
`, filepath.Join(dir, "out")))
	p := start(t, "DATABASE_URL="+db, "HOOKS_FILE="+file, "PAY_SECRET=secret-of-pay", "CI_SECRET=secret-of-ci", "ALLOW_UNVERIFIED=false",
		"WEBHOOK_ROUTES=/hooks/pay=generic:X-Signature:PAY_SECRET+name=pay,/hooks/ci=generic:X-Signature:CI_SECRET+name=ci,/hooks/*=generic+unverified+name=open")
	sign := func(secret string) []string { return []string{"X-Signature", hexMAC(secret), "Idempotency-Key", "one"} }
	for _, tt := range []struct {
		path   string
		fields []string
		code   int
	}{
		{"/hooks/ci", sign("secret-of-ci"), 202},
		{"/hooks/pay", sign("secret-of-ci"), 401},
		{"/hooks/pay?who=me&x=1", sign("secret-of-pay"), 202},
		{"/hooks/else", nil, 202},
	} {
		if code, answer := p.send(tt.path, []byte("{}"), tt.fields...); code != tt.code {
			t.Errorf("%s: %d %s, want %d", tt.path, code, answer, tt.code)
		}
	}
	p.wait("three commands", func() bool { return len(lines(t, filepath.Join(dir, "out"))) == 3 })
	got := strings.Join(lines(t, filepath.Join(dir, "out")), " ")
	for _, want := range []string{"pay:pay:POST:/hooks/pay:who=me&x=1:true:me-true", "ci", "open"} {
		if !strings.Contains(" "+got+" ", " "+want+" ") {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	p.waitLogged("Hook not started, the webhook is not verified")
	if got := p.waitLogged("Hook names a route that is not there"); got["route"] != "pays" {
		t.Errorf("warned of %v", got["route"])
	}
	pool := openPool(t, db)
	if n := count(t, pool, `SELECT count(*) FROM river_job WHERE args->>'hook' = 'never'`); n != 0 {
		t.Error("an unverified webhook started a command")
	}
	if n := count(t, pool, `SELECT count(*) FROM river_job WHERE args @> '{"hook":"pay","source":"generic","route":"pay","path":"/hooks/pay","query":"who=me&x=1","method":"POST","verified":true}'`); n != 1 {
		t.Error("the job does not say how its webhook came")
	}
}

// ROUTES_FILE is read again when it changes, also in the app; a wrong one changes
// nothing.
func TestRoutesFileReloads(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "routes.yaml")
	routes := func(path, methods string) string {
		return fmt.Sprintf("routes:\n  - {name: one, path: %s, sender: generic, verify: none%s}\n", path, methods)
	}
	write(t, file, routes("/one", ", methods: [PUT, POST]"))
	p := start(t, "DATABASE_URL="+testkit.Database(t), "WEBHOOK_ROUTES=", "ROUTES_FILE="+file, "ALLOW_UNVERIFIED=false")
	if code, answer := p.send("/one", []byte("{}")); code != 202 {
		t.Fatalf("%d %s", code, answer)
	}
	write(t, file, routes("two", ""))
	p.waitLogged("Routes not reloaded, the old ones stay in force")
	if code, answer := p.send("/one", []byte("{}")); code != 202 {
		t.Fatalf("after a wrong file: %d %s", code, answer)
	}
	write(t, file, routes("/two", ""))
	p.waitLogged("Routes reloaded")
	if code, answer := p.send("/two", []byte("{}")); code != 202 {
		t.Fatalf("on the new path: %d %s", code, answer)
	}
	if code, _ := p.send("/one", []byte("{}")); code != 404 {
		t.Errorf("on the old path: %d", code)
	}
}

// A route that is written down without a secret refuses the start, unless
// SLUICE_SECRET makes the sidecar's word enough.
func TestRouteWithoutSecret(t *testing.T) {
	t.Parallel()
	env := []string{"DATABASE_URL=postgres://h/db", "ALLOW_UNVERIFIED=false", "STRIPE_WEBHOOK_SECRET=", "WEBHOOK_ROUTES=/stripe=stripe"}
	if _, stderr, code := app(t, env, "config"); code != 2 || !strings.Contains(stderr, "STRIPE_WEBHOOK_SECRET") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if _, stderr, code := app(t, append(env, "SLUICE_SECRET="+sluiceSecret), "config"); code != 0 {
		t.Errorf("with SLUICE_SECRET: exit code %d: %s", code, stderr)
	}
}

// hexMAC signs the body "{}".
func hexMAC(secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("{}"))
	return hex.EncodeToString(mac.Sum(nil))
}
