package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sluice/infra/testkit"
)

// sidecar is a running process of the binary under test.
type sidecar struct {
	*testkit.Process
	t       testing.TB
	url     string // of the public listener
	addr    string // the same without http://
	probes  string
	control string
	env     map[string]string
}

// wireVar names the environment variable that sets WIRE for every sidecar under
// test, so that all these tests can be run with either loop.
const wireVar = "SLUICE_E2E_WIRE"

// env are settings beside, or in place of, those of the harness.
type env map[string]string

// start runs a sidecar before the app and waits until it listens.
func start(t testing.TB, db *database, a *app, more ...env) *sidecar {
	t.Helper()
	s := launch(t, testkit.Program(t, program), db.url, a, more...)
	s.waitListening()
	return s
}

// started runs a sidecar and waits until it can hold.
func started(t testing.TB, db *database, a *app, more ...env) *sidecar {
	t.Helper()
	s := start(t, db, a, append([]env{{"STARTUP_GATE": "buffer"}}, more...)...)
	testkit.Eventually(t, "the sidecar can hold", func() bool { return s.probe("/startupz") == 200 })
	return s
}

// passing runs a sidecar and waits until it forwards webhooks.
func passing(t testing.TB, db *database, a *app, more ...env) *sidecar {
	t.Helper()
	s := started(t, db, a, more...)
	s.waitState("passing")
	return s
}

// launch starts the process and returns at once.
func launch(t testing.TB, binary, databaseURL string, a *app, more ...env) *sidecar {
	t.Helper()
	s, cmd := prepare(t, binary, databaseURL, a, more...)
	s.Process = testkit.Start(t, cmd)
	return s
}

// prepare returns a sidecar and the command that starts it.
func prepare(t testing.TB, binary, databaseURL string, a *app, more ...env) (*sidecar, *exec.Cmd) {
	t.Helper()
	s := &sidecar{t: t}
	s.addr, s.probes, s.control = testkit.Address(t), testkit.Address(t), testkit.Address(t)
	s.url = "http://" + s.addr
	s.env = env{
		"DATABASE_URL": databaseURL, "APP_URL": "http://" + a.addr, "LISTEN_ADDR": s.addr,
		"PROBE_ADDR": s.probes, "CONTROL_ADDR": s.control, "LOG_FORMAT": "json",
		"APP_PROBE_INTERVAL": "100ms", "APP_PROBE_INTERVAL_DOWN": "50ms",
		"REPLAY_MIN_BACKOFF": "20ms", "REPLAY_MAX_BACKOFF": "200ms",
		"TERMINATION_GRACE_SECONDS": "120", "GORACE": "halt_on_error=1",
		// A slow machine is no outage: only tests of these limits set others.
		"HOLD_TIMEOUT": "30s", "APP_PROBE_TIMEOUT": "30s",
		"WEBHOOK_ROUTES": "/webhooks/github=github,/webhooks/slack/events=slack,/webhooks/slack/commands=slack+sync,/hooks/late=generic+300ms,/hooks/*=generic",
		"LANES":          "generic:lane",
		// Most tests are about what happens to a webhook, not about its signature.
		"ALLOW_UNVERIFIED": "true",
	}
	if wire := os.Getenv(wireVar); wire != "" {
		s.env["WIRE"] = wire
	}
	for _, m := range more {
		for name, value := range m {
			s.env[name] = value
		}
	}
	cmd := exec.Command(binary, "serve")
	cmd.Env = environ(s.env)
	return s, cmd
}

func environ(e env) []string {
	var out []string
	for name, value := range e {
		out = append(out, name+"="+value)
	}
	return out
}

func (s *sidecar) waitListening() {
	s.t.Helper()
	testkit.Eventually(s.t, "the sidecar listens", func() bool {
		if !s.Running() {
			s.t.Fatalf("the sidecar ended: %v", s.Cmd.ProcessState)
		}
		return s.probe("/livez") == 200
	})
}

// probe returns the status of a path of the probe listener, 0 without answer.
func (s *sidecar) probe(path string) int {
	resp, err := client.Get("http://" + s.probes + path)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// status is what GET /v1/status says.
type status struct {
	State           string   `json:"state"`
	App             string   `json:"app"`
	Database        string   `json:"db"`
	Held            int64    `json:"held"`
	Processing      int64    `json:"processing"`
	Failed          int64    `json:"failed"`
	InFlight        int      `json:"in_flight"`
	ShutLanes       int      `json:"shut_lanes"`
	Sealed          bool     `json:"sealed"`
	Replayed        int64    `json:"replayed"`
	BreakerOpenSecs float64  `json:"breaker_open_seconds"`
	BreakerStatus   int      `json:"breaker_status"`
	LockedKeys      []string `json:"locked_keys"`
	Refused         []struct {
		Route, Source, Reason string
		Count                 int64
	} `json:"refused"`
	Unrouted []struct {
		Path, Sender, Add string
		Count             int64
	} `json:"unrouted"`
}

// refused returns how often a route has refused for a reason.
func (st status) refused(route, reason string) int64 {
	for _, r := range st.Refused {
		if r.Route == route && r.Reason == reason {
			return r.Count
		}
	}
	return 0
}

func (s *sidecar) status() (st status) {
	resp, err := client.Get("http://" + s.control + "/v1/status")
	if err != nil {
		return st
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&st); err != nil {
		s.t.Errorf("read status: %v", err)
	}
	return st
}

func (s *sidecar) waitState(state string) {
	s.t.Helper()
	var last string
	if !testkit.Within(testkit.Patience, func() bool { last = s.status().State; return last == state }) {
		s.t.Fatalf("state is %q, want %q", last, state)
	}
}

// runOnce runs the binary to its end and returns its output and exit code.
func runOnce(t testing.TB, e env, args ...string) (out string, code int) {
	t.Helper()
	var o testkit.Output
	c := exec.Command(testkit.Program(t, program), args...)
	c.Env, c.Stdout, c.Stderr = environ(e), &o, &o
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(testkit.Patience, func() { c.Process.Kill() })
	defer kill.Stop()
	var exit *exec.ExitError
	if err := c.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return o.String(), c.ProcessState.ExitCode()
}

// client never keeps a connection to a process that may be killed, and never
// follows a redirect.
var client = &http.Client{
	Timeout:       testkit.Patience,
	Transport:     &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// answer is what a sender got.
type answer struct {
	err    error
	status int
	header http.Header
	body   string
	took   time.Duration
}

// held reports whether the webhook was acknowledged as held.
func (a answer) held() bool { return a.header.Get("Sluice-Status") == "held" }

// acknowledged reports whether the sender may forget the webhook.
func (a answer) acknowledged() bool { return a.err == nil && a.status/100 == 2 }

// post sends a webhook. fields are names and values in turn.
func (s *sidecar) post(path, body string, fields ...string) answer {
	req, err := http.NewRequest(http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	return do(req, fields...)
}

func (s *sidecar) get(path string, fields ...string) answer {
	req, err := http.NewRequest(http.MethodGet, s.url+path, nil)
	if err != nil {
		return answer{err: err}
	}
	return do(req, fields...)
}

func do(req *http.Request, fields ...string) answer {
	for i := 0; i+1 < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	began := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return answer{err: err, header: http.Header{}}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{err: err, status: resp.StatusCode, header: resp.Header, body: string(body), took: time.Since(began)}
}

// mustHold posts a webhook that must be held.
func (s *sidecar) mustHold(path, body string, fields ...string) answer {
	s.t.Helper()
	a := s.post(path, body, fields...)
	if !a.acknowledged() || !a.held() {
		s.t.Fatalf("%s: want it held, got %d %q (%v)", path, a.status, a.body, a.err)
	}
	return a
}

// mustHoldOrPass posts a webhook that must be acknowledged, held or forwarded.
func (s *sidecar) mustHoldOrPass(path, body string, fields ...string) answer {
	s.t.Helper()
	a := s.post(path, body, fields...)
	if !a.acknowledged() {
		s.t.Fatalf("POST %s: %d %s %v", path, a.status, a.body, a.err)
	}
	return a
}

// mustPass posts a webhook that must reach the app at once.
func (s *sidecar) mustPass(path, body string, fields ...string) answer {
	s.t.Helper()
	a := s.post(path, body, fields...)
	if !a.acknowledged() || a.held() {
		s.t.Fatalf("%s: want it passed, got %d %q held=%v (%v)", path, a.status, a.body, a.held(), a.err)
	}
	return a
}
