package config

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/sidecar/internal/gate"
	"sluice/sidecar/settings"
)

// set gives the test an environment with only these settings.
func set(t *testing.T, env map[string]string) {
	t.Helper()
	for _, s := range all {
		t.Setenv(s.Name, "") // remembers what was there
		if err := os.Unsetenv(s.Name); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
}

func TestDefaults(t *testing.T) {
	set(t, map[string]string{"DATABASE_URL": "postgres://h/db"})
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string][2]any{
		"LISTEN_ADDR": {c.ListenAddr, ":8080"}, "PROBE_ADDR": {c.ProbeAddr, ":8081"}, "CONTROL_ADDR": {c.ControlAddr, "127.0.0.1:9090"},
		"APP_URL": {c.AppURL, "http://127.0.0.1:3000"}, "APP_HEALTH_PATH": {c.AppHealthPath, "/healthz"},
		"MAX_BODY_BYTES": {c.MaxBodyBytes, int64(26214400)}, "MAX_INFLIGHT_BYTES": {c.MaxInflightBytes, int64(64 << 20)}, "BODY_MIN_RATE": {c.BodyMinRate, int64(240)}, "MAX_CONNECTIONS": {c.MaxConnections, int64(10000)},
		"ORDER": {c.GateOrder(), gate.PerLane}, "CATCHUP_LIMIT": {c.CatchupLimit, time.Minute}, "REPLAY_CONCURRENCY": {c.ReplayConcurrency, 8},
		"REPLAY_MAX_ATTEMPTS": {c.ReplayMaxAttempts, 10}, "REPLAY_AWAY_LIMIT": {c.ReplayAwayLimit, time.Hour}, "RETENTION": {c.Retention, 168 * time.Hour}, "FAILED_RETENTION": {c.FailedRetention, time.Duration(0)},
		"TERMINATION_GRACE_SECONDS": {c.TerminationGraceSeconds, 330}, "STARTUP_GATE": {c.StartupGate, "app"},
		"APP_PROBE_INTERVAL": {c.AppProbeInterval, time.Second}, "APP_PROBE_INTERVAL_DOWN": {c.AppProbeIntervalOff, 250 * time.Millisecond},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %v, want %v", what, pair[0], pair[1])
		}
	}
	want := []string{"/webhooks/github github false", "/webhooks/slack/events slack false", "/webhooks/slack/commands slack true", "/webhooks/stripe stripe false"}
	var got []string
	for _, r := range c.Routes {
		got = append(got, fmt.Sprint(r.Path, " ", r.Name, " ", r.Sync))
		if !r.Closed() {
			t.Errorf("%v is open without its secret", r)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("routes are %v, want %v", got, want)
	}
	if c.ReplicaName == "" {
		t.Error("the replica has no name")
	}
}

func TestBounds(t *testing.T) {
	good := map[string]string{"DATABASE_URL": "postgres://h/db", "ALLOW_UNVERIFIED": "true"}
	for _, c := range []struct {
		name, value string
		ok          bool
	}{
		{"TERMINATION_GRACE_SECONDS", "1", true}, {"TERMINATION_GRACE_SECONDS", "0", false}, {"TERMINATION_GRACE_SECONDS", "9223372036854775807", true}, {"TERMINATION_GRACE_SECONDS", "1.5", false},
		{"MAX_INFLIGHT_BYTES", "52428800", true}, {"MAX_INFLIGHT_BYTES", "52428799", false}, {"BODY_MIN_RATE", "0", true}, {"BODY_MIN_RATE", "-1", false}, {"MAX_CONNECTIONS", "0", true}, {"MAX_CONNECTIONS", "-1", false}, {"MAX_BODY_BYTES", "1", true}, {"MAX_BODY_BYTES", "0", false},
		{"CONTROL_ADDR", "localhost:1", true}, {"CONTROL_ADDR", "[::1]:1", true}, {"CONTROL_ADDR", "127.9.9.9:1", true}, {"CONTROL_ADDR", ":9090", false},
		{"CONTROL_ADDR", "10.0.0.1:1", false}, {"CONTROL_ADDR", "[::]:1", false}, {"CONTROL_ADDR", "localhost.example:1", false},
		{"ORDER", "strict", true}, {"ORDER", "none", true}, {"ORDER", "Lane", false}, {"ORDER", "lane strict", false}, {"ORDER", "", true}, {"MAX_BODY_BYTES", "", true}, {"WEBHOOK_ROUTES", "", true}, {"WEBHOOK_ROUTES", ",", false},
		{"RETENTION", "24h", true}, {"RETENTION", "23h59m59s", false}, {"RETENTION", "0s", false}, {"RETENTION", "7d", false}, {"CATCHUP_LIMIT", "0s", true}, {"REPLAY_AWAY_LIMIT", "0s", true}, {"REPLAY_AWAY_LIMIT", "-1s", false},
		{"FAILED_RETENTION", "0s", true}, {"FAILED_RETENTION", "2160h", true}, {"FAILED_RETENTION", "-1h", false},
		{"BUFFER_KEY", base64.StdEncoding.EncodeToString(make([]byte, 32)), true}, {"BUFFER_KEY", base64.StdEncoding.EncodeToString(make([]byte, 31)), false},
		{"LANES", "github:repository.full_name, slack:team_id", true}, {"LANES", "github", false}, {"LANES", "github:", false}, {"LANES", ":x", false}, {"LANES", "github:-,shopify:header:X-Shop", true}, {"LANES", "nobody:x", false},
		{"WEBHOOK_ROUTES", "/a=github+202+5s+sync", true}, {"WEBHOOK_ROUTES", "/a=github+201", false}, {"WEBHOOK_ROUTES", "/a=github+-5s", false},
		{"WEBHOOK_ROUTES", "/a=github,/a=slack", false}, {"WEBHOOK_ROUTES", "/a*=github,/a=slack", true}, {"WEBHOOK_ROUTES", "/a=generic:X-Sig:MY_SECRET", true}, {"WEBHOOK_ROUTES", "/a=github:X-Sig", false},
	} {
		settings := map[string]string{c.name: c.value}
		for k, v := range good {
			settings[k] = v
		}
		set(t, settings)
		_, err := Load()
		if (err == nil) != c.ok {
			t.Errorf("%s=%s: %v, want ok=%v", c.name, c.value, err, c.ok)
		}
		if err != nil && !strings.Contains(err.Error(), c.name) && !strings.Contains(err.Error(), "CONTROL_TOKEN") {
			t.Errorf("%s=%s: %q does not name it", c.name, c.value, err)
		}
	}
}

// PORT is where the platform sends requests, unless it is the app's: settings are
// often shared between both containers. A process that starts the app itself gives
// it another port.
func TestPort(t *testing.T) {
	for _, c := range []struct {
		name         string
		set          map[string]string
		alone        bool
		listen, want string
	}{
		{"none", nil, false, ":8080", "http://127.0.0.1:3000"},
		{"the platform's", map[string]string{"PORT": "10000"}, false, ":10000", "http://127.0.0.1:3000"},
		{"LISTEN_ADDR wins", map[string]string{"PORT": "10000", "LISTEN_ADDR": ":1"}, false, ":1", "http://127.0.0.1:3000"},
		{"the app's", map[string]string{"PORT": "3000"}, false, ":8080", "http://127.0.0.1:3000"},
		{"alone", map[string]string{"PORT": "3000"}, true, ":3000", "http://127.0.0.1:3001"},
		{"alone, the highest", map[string]string{"PORT": "3000", "APP_URL": "http://127.0.0.1:4000"}, true, ":3000", "http://127.0.0.1:4000"},
	} {
		all := map[string]string{"DATABASE_URL": "postgres://h/db", "ALLOW_UNVERIFIED": "true"}
		maps.Copy(all, c.set)
		set(t, all)
		load := Load
		if c.alone {
			load = LoadAlone
		}
		if cfg, err := load(); err != nil || cfg.ListenAddr != c.listen || cfg.AppURL != c.want {
			t.Errorf("%s: listens on %s, app at %s (%v); want %s and %s", c.name, cfg.ListenAddr, cfg.AppURL, err, c.listen, c.want)
		}
	}
	set(t, map[string]string{"DATABASE_URL": "postgres://h/db", "ALLOW_UNVERIFIED": "true", "PORT": "4000", "APP_URL": "http://127.0.0.1:4000"})
	if _, err := LoadAlone(); err == nil || !strings.Contains(err.Error(), "APP_URL must have another port than PORT") {
		t.Errorf("one port for both: %v", err)
	}
	set(t, map[string]string{"DATABASE_URL": "postgres://h/db", "ALLOW_UNVERIFIED": "true", "PORT": "none"})
	if _, err := Load(); err == nil || !strings.Contains(err.Error(), "PORT must be") {
		t.Errorf("a port that is no number: %v", err)
	}
}

// The grace may be the largest number; sums of it still fit a duration.
func TestGrace(t *testing.T) {
	for seconds, want := range map[int]time.Duration{1: time.Second, 330: 330 * time.Second, 1 << 62: 50 * 365 * 24 * time.Hour} {
		got := (&Config{Common: settings.Common{TerminationGraceSeconds: seconds}}).Grace()
		if got != want || got+got < got {
			t.Errorf("%d: grace is %s", seconds, got)
		}
	}
}

func TestExecReadsItsGrace(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 330 * time.Second, "1": time.Second, "3600": time.Hour, "0": 0, "-1": 0, "x": 0, "1.5": 0, "99999999999999999999": 0,
	} {
		t.Setenv("TERMINATION_GRACE_SECONDS", text)
		e, err := LoadExec()
		if (err == nil) != (want > 0) || err == nil && e.Grace() != want {
			t.Errorf("%q: %s (%v), want %s", text, e.Grace(), err, want)
		}
	}
}

// A secret prints as ***, however a log prints it.
func TestSecretsDoNotPrint(t *testing.T) {
	set(t, map[string]string{"DATABASE_URL": "postgres://u:hunter2@h/db", "CONTROL_TOKEN": "hunter2", "SLUICE_SECRET": "hunter2", "BUFFER_KEY": "hunter2hunter2"})
	c, err := Load() // BUFFER_KEY is bad
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error is %v", err)
	}
	var log strings.Builder
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("x", "url", c.DatabaseURL, "token", c.ControlToken, "keys", c.BufferKey, "all", c)
	}
	fmt.Fprintf(&log, "%v %s %q %+v", c.DatabaseURL, c.ControlToken, c.SluiceSecret, c.BufferKey)
	if strings.Contains(log.String(), "hunter2") {
		t.Errorf("a secret is printed: %s", log.String())
	}
}

// Every secret may come from a file: those of the settings and those of the senders.
func TestSecretsFromFiles(t *testing.T) {
	mount := func(text string) string {
		file := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	set(t, map[string]string{
		"DATABASE_URL_FILE": mount("postgres://h/db"), "BUFFER_KEY_FILE": mount(base64.StdEncoding.EncodeToString(make([]byte, 32))),
		"CONTROL_TOKEN_FILE": mount("token"), "CONTROL_ADDR": ":9090", "SLUICE_SECRET_FILE": mount("new,old"),
		"GITHUB_WEBHOOK_SECRET_FILE": mount("the new one,the old one"), "WEBHOOK_ROUTES": "/a=github",
	})
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if c.DatabaseURL.Reveal() != "postgres://h/db" || len(c.BufferKeys) != 1 || c.ControlToken.Reveal() != "token" || c.SluiceSecret.Reveal() != "new,old" {
		t.Errorf("read %q, %d keys, %q, %q", c.DatabaseURL.Reveal(), len(c.BufferKeys), c.ControlToken.Reveal(), c.SluiceSecret.Reveal())
	}
	if got := c.Routes[0].Secrets; len(got) != 2 || got[0] != "the new one" {
		t.Errorf("the route's secrets are %v", got)
	}
	t.Setenv("GITHUB_WEBHOOK_SECRET", "another")
	if _, err := Load(); err == nil || !strings.Contains(err.Error(), "GITHUB_WEBHOOK_SECRET and GITHUB_WEBHOOK_SECRET_FILE are both set") {
		t.Errorf("the error is %v", err)
	}
}

// A route that is written down must have a secret; LANES goes by the routes' names.
func TestRoutesInTheEnvironment(t *testing.T) {
	set(t, map[string]string{"DATABASE_URL": "postgres://h/db", "WEBHOOK_ROUTES": "/a=github+name=bots,/b=github"})
	t.Setenv("GITHUB_WEBHOOK_SECRET", "")
	if _, err := Load(); err == nil || strings.Count(err.Error(), "GITHUB_WEBHOOK_SECRET") != 2 {
		t.Errorf("without a secret: %v", err)
	}
	t.Setenv("GITHUB_WEBHOOK_SECRET", "long enough")
	t.Setenv("LANES", "bots:sender.login,slack:team_id")
	c, err := Load()
	if err != nil || c.Routes[0].Lane[0] != "sender.login" || c.Routes[1].Lane[0] != "repository.full_name" {
		t.Errorf("the routes are %+v (%v)", c, err)
	}
}
