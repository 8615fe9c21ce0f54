package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// sidecar is a running process of the binary under test.
type sidecar struct {
	t       testing.TB
	cmd     *exec.Cmd
	url     string // of the public listener
	addr    string // the same without http://
	probes  string
	control string
	env     map[string]string
	log     *output
	exited  chan struct{}
}

// wireVar names the environment variable that sets WIRE for every sidecar under
// test, so that all these tests can be run with either loop.
const wireVar = "SLUICE_E2E_WIRE"

// env are settings beside, or in place of, those of the harness.
type env map[string]string

// start runs a sidecar before the app and waits until it listens.
func start(t testing.TB, db *database, a *app, more ...env) *sidecar {
	t.Helper()
	s := launch(t, binary, db.url, a, more...)
	s.waitListening()
	return s
}

// started runs a sidecar and waits until it can hold.
func started(t testing.TB, db *database, a *app, more ...env) *sidecar {
	t.Helper()
	s := start(t, db, a, append([]env{{"STARTUP_GATE": "buffer"}}, more...)...)
	eventually(t, "the sidecar can hold", func() bool { return s.probe("/startupz") == 200 })
	return s
}

// passing runs a sidecar and waits until it passes webhooks on.
func passing(t testing.TB, db *database, a *app, more ...env) *sidecar {
	t.Helper()
	s := started(t, db, a, more...)
	s.waitState("passing")
	return s
}

// launch starts the process and returns at once.
func launch(t testing.TB, program, databaseURL string, a *app, more ...env) *sidecar {
	t.Helper()
	s := &sidecar{t: t, log: &output{}, exited: make(chan struct{})}
	s.addr, s.probes, s.control = freeAddr(t), freeAddr(t), freeAddr(t)
	s.url = "http://" + s.addr
	s.env = env{
		"DATABASE_URL": databaseURL, "APP_URL": "http://" + a.addr, "LISTEN_ADDR": s.addr,
		"PROBE_ADDR": s.probes, "CONTROL_ADDR": s.control, "LOG_FORMAT": "json",
		"APP_PROBE_INTERVAL": "100ms", "APP_PROBE_INTERVAL_DOWN": "50ms",
		"REPLAY_MIN_BACKOFF": "20ms", "REPLAY_MAX_BACKOFF": "200ms",
		"TERMINATION_GRACE_SECONDS": "120", "GORACE": "halt_on_error=1",
		// A slow machine is no outage: only a test that is about these limits
		// has others.
		"HOLD_TIMEOUT": "30s", "APP_PROBE_TIMEOUT": "30s",
		"WEBHOOK_ROUTES": "/webhooks/github=github,/webhooks/slack/events=slack,/webhooks/slack/commands=slack+sync,/hooks/late=generic+300ms,/hooks/*=generic",
		"LANES":          "generic:lane",
	}
	if wire := os.Getenv(wireVar); wire != "" {
		s.env["WIRE"] = wire
	}
	for _, m := range more {
		for name, value := range m {
			s.env[name] = value
		}
	}
	s.cmd = exec.Command(program, "serve")
	s.cmd.Env = environ(s.env)
	s.cmd.Stderr, s.cmd.Stdout = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.cmd.Wait()
		close(s.exited)
	}()
	t.Cleanup(func() {
		s.kill()
		for _, bad := range []string{"DATA RACE", "panic: ", "goroutine 1 ["} {
			if strings.Contains(s.log.String(), bad) {
				t.Errorf("the sidecar's output has %q", bad)
			}
		}
		if t.Failed() {
			t.Logf("sidecar %s:\n%s", s.addr, s.log.tail(80))
		}
	})
	return s
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
	eventually(s.t, "the sidecar listens", func() bool {
		select {
		case <-s.exited:
			s.t.Fatalf("the sidecar ended: %v\n%s", s.cmd.ProcessState, s.log)
		default:
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
	if !within(patience, func() bool { last = s.status().State; return last == state }) {
		s.t.Fatalf("state is %q, want %q", last, state)
	}
}

func (s *sidecar) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// kill ends the process as kill -9 does and waits for it.
func (s *sidecar) kill() {
	select {
	case <-s.exited:
		return
	default:
	}
	s.cmd.Process.Kill()
	<-s.exited
}

// exitCode waits for the process to end by itself.
func (s *sidecar) exitCode() int {
	s.t.Helper()
	select {
	case <-s.exited:
		return s.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		s.t.Fatalf("the sidecar still runs after %v", patience)
		return -1
	}
}

func (s *sidecar) running() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// output gathers what a process prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *output) tail(lines int) string {
	all := strings.Split(strings.TrimSpace(o.String()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// waitLines waits until there are n log records with that message and returns
// those that there are. A line is written after what it tells of can be seen in
// other ways, so that each test that looks for one has to wait for it.
func (s *sidecar) waitLines(n int, message string) (found []map[string]any) {
	s.t.Helper()
	if !within(patience, func() bool { found = s.log.lines(message); return len(found) >= n }) {
		s.t.Fatalf("%d lines %q, want %d", len(found), message, n)
	}
	return found
}

// lines returns the log records with that message.
func (o *output) lines(message string) (found []map[string]any) {
	sc := bufio.NewScanner(strings.NewReader(o.String()))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var record map[string]any
		if json.Unmarshal(sc.Bytes(), &record) == nil && record["msg"] == message {
			found = append(found, record)
		}
	}
	return found
}

// runOnce runs the binary to its end and returns what it printed and its code.
func runOnce(t testing.TB, e env, args ...string) (out string, code int) {
	t.Helper()
	var o output
	c := exec.Command(binary, args...)
	c.Env, c.Stdout, c.Stderr = environ(e), &o, &o
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(patience, func() { c.Process.Kill() })
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
	Timeout:       patience,
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

// mustHold posts a webhook that has to be held.
func (s *sidecar) mustHold(path, body string, fields ...string) answer {
	s.t.Helper()
	a := s.post(path, body, fields...)
	if !a.acknowledged() || !a.held() {
		s.t.Fatalf("%s: want it held, got %d %q (%v)", path, a.status, a.body, a.err)
	}
	return a
}

// mustHoldOrPass posts a webhook that has to be acknowledged either way.
func (s *sidecar) mustHoldOrPass(path, body string, fields ...string) answer {
	s.t.Helper()
	a := s.post(path, body, fields...)
	if !a.acknowledged() {
		s.t.Fatalf("POST %s: %d %s %v", path, a.status, a.body, a.err)
	}
	return a
}

// mustPass posts a webhook that has to reach the app at once.
func (s *sidecar) mustPass(path, body string, fields ...string) answer {
	s.t.Helper()
	a := s.post(path, body, fields...)
	if !a.acknowledged() || a.held() {
		s.t.Fatalf("%s: want it passed, got %d %q held=%v (%v)", path, a.status, a.body, a.held(), a.err)
	}
	return a
}
