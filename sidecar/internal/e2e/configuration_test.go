package e2e

import (
	"strings"
	"testing"

	"sluice/infra/testkit"
)

// Every problem is listed at once, without a stack trace and without a secret.
func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	secrets := []string{"hunter2", "topsecret", "shortkey"}
	bad := env{
		"DATABASE_AUTH": "magic", "LISTEN_ADDR": "8080", "PROBE_ADDR": "x", "CONTROL_ADDR": "0.0.0.0:9090",
		"APP_PROBE_INTERVAL": "often", "APP_PROBE_TIMEOUT": "-1s", "MAX_BODY_BYTES": "25MB", "MAX_INFLIGHT_BYTES": "0", "BODY_MIN_RATE": "fast", "MAX_CONNECTIONS": "many",
		"ORDER": "random", "REPLAY_CONCURRENCY": "0", "REPLAY_MAX_ATTEMPTS": "-1", "RESIGN": "perhaps", "RETENTION": "7d",
		"STARTUP_GATE": "never", "TERMINATION_GRACE_SECONDS": "0", "LOG_LEVEL": "loud", "LOG_FORMAT": "xml",
		"BUFFER_KEY": "shortkey", "LANES": "nobody:x,github",
		"WEBHOOK_ROUTES": "/a=nobody,b=github,/c=github+never,/d=github,/d=slack,/e*f=github", "SLUICE_SECRET": "topsecret",
	}
	out, code := runOnce(t, bad, "serve")
	if code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	for name := range bad {
		if name == "SLUICE_SECRET" { // this one is correct
			continue
		}
		name = strings.Replace(name, "CONTROL_ADDR", "CONTROL_TOKEN", 1)
		if !strings.Contains(out, name) {
			t.Errorf("nothing about %s", name)
		}
	}
	for _, want := range []string{"DATABASE_URL", `"/a=nobody"`, `"b=github"`, `"/c=github+never"`, `"/d=slack"`, `"/e*f=github"`} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing about %s", want)
		}
	}
	for _, url := range []string{
		"postgres://u:hunter2@host:badport/db", "postgres://u:hunter2@%zz/db", "mysql://u:hunter2@host/db",
		"postgres://u:hunter2@host/db?sslmode=perhaps", "host=x password=hunter2 port=y", "postgres://u:hun:ter2@hunter2 @h/db",
	} {
		o, code := runOnce(t, env{"DATABASE_URL": url}, "serve")
		if code != 2 || !strings.Contains(o, "DATABASE_URL") {
			t.Errorf("%s: exit code %d: %s", url, code, o)
		}
		out += o
	}
	o, code := runOnce(t, env{"DATABASE_URL": "postgres://u:hunter2@host/db", "APP_URL": "https://127.0.0.1:3000/x"}, "serve")
	if code != 2 || !strings.Contains(o, "APP_URL") {
		t.Errorf("APP_URL: exit code %d: %s", code, o)
	}
	out += o
	for _, secret := range secrets {
		if strings.Contains(out, secret) {
			t.Errorf("%s is printed", secret)
		}
	}
	for _, trace := range []string{"goroutine", "panic", ".go:"} {
		if strings.Contains(out, trace) {
			t.Errorf("a stack trace is printed: %q", trace)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
	if o, code := runOnce(t, env{"DATABASE_URL": "postgres://h/db"}, "server"); code != 2 || !strings.Contains(o, "unknown command") {
		t.Errorf("unknown verb: exit code %d: %s", code, o)
	}
}

// A port that is in use is reported and ends the process.
func TestTakenPort(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a)
	for _, name := range []string{"LISTEN_ADDR", "PROBE_ADDR", "CONTROL_ADDR"} {
		other := launch(t, testkit.Program(t, program), db.url, a, env{name: s.addr})
		if code := other.ExitCode(); code != 1 || !strings.Contains(other.Output.String(), "address already in use") {
			t.Errorf("%s: exit code %d: %s", name, code, &other.Output)
		}
	}
}

// The control listener asks for its token wherever it has one.
func TestControlToken(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := started(t, db, a, env{"CONTROL_TOKEN": "correct-horse", "SLUICE_SECRET": "battery-staple", "GITHUB_WEBHOOK_SECRET": "it-is-secret"})
	control := &sidecar{t: t, url: "http://" + s.control}
	for token, want := range map[string]int{"": 401, "wrong": 401, "correct-horse": 200, "correct-horse ": 200, "correct-hors": 401} {
		fields := []string{}
		if token != "" {
			fields = []string{"Authorization", "Bearer " + token}
		}
		if got := control.get("/v1/status", fields...); got.status != want {
			t.Errorf("token %q: %d, want %d", token, got.status, want)
		}
	}
	if got := control.get("/nothing"); got.status != 401 {
		t.Errorf("an unknown path tells so without a token: %d", got.status)
	}
	if _, code := runOnce(t, nil, "status", "--addr", s.control); code != 1 {
		t.Errorf("status without the token: exit %d, want 1", code)
	}
	if out, code := runOnce(t, env{"CONTROL_TOKEN": "correct-horse"}, "status", "--addr", s.control, "--output", "json"); code != 0 || !strings.Contains(out, `"state"`) {
		t.Errorf("status with the token: exit %d: %s", code, out)
	}
	// Signed webhooks are refused and forwarded, and no secret is in the log.
	if got := s.post("/webhooks/github", "{}", "X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64), "Authorization", "Bearer private"); got.status != 401 {
		t.Errorf("wrongly signed: %d", got.status)
	}
	a.stop()
	s.mustHold("/hooks/x", `{"password":"in-the-body"}`, "Authorization", "Bearer private")
	s.WaitRecords(1, "Webhook queued to PostgreSQL for drain-time replay") // the last line that it logs
	for _, secret := range []string{"correct-horse", "battery-staple", "it-is-secret", "in-the-body", "private"} {
		if strings.Contains(s.Output.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}
