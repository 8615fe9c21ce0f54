package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/infra/testkit"
)

// READY_PATH answers on the public port as /readyz does on the probe port, and the app
// gets everything else.
func TestReadyPath(t *testing.T) {
	t.Parallel()
	server, db := ownServer(t)
	a := runningApp(t)
	s := passing(t, db, a, env{"READY_PATH": "/-/ready"})
	if got := s.get("/-/ready"); got.status != 200 || got.body != "ok\n" {
		t.Errorf("/-/ready: %d %q", got.status, got.body)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "/healthz says that PostgreSQL is away", func() bool { return s.get("/healthz").status == 503 })
	if got := s.get("/-/ready"); got.status != 200 { // webhooks pass
		t.Errorf("without PostgreSQL /-/ready is %d", got.status)
	}
	a.stop()
	testkit.Eventually(t, "/-/ready is 503 where nothing can be taken", func() bool { return s.get("/-/ready").status == 503 })
}

// The sidecar answers the health paths itself, in each state, and passes /drain to
// nobody.
func TestPublicHealth(t *testing.T) {
	t.Parallel()
	server, db := ownServer(t)
	a := newApp(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/readiness", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the app's own") })
	a.serves(mux)
	s := start(t, db, a)
	expect := func(status int, want string) {
		t.Helper()
		for _, path := range []string{"/healthz", "/health"} {
			var got answer
			if !testkit.Within(testkit.Patience, func() bool {
				got = s.get(path)
				return got.status == status && strings.TrimSpace(got.body) == want && got.header.Get("Content-Type") == "application/json"
			}) {
				t.Errorf("%s: %d %s, want %d %s", path, got.status, got.body, status, want)
			}
		}
	}
	expect(200, `{"status":"ok","db":"connected","app":"unhealthy","state":"starting","held":0}`)
	if got := s.probe("/startupz"); got != 503 {
		t.Errorf("/startupz is %d before the app was healthy", got)
	}
	s.mustHold("/hooks/x", "{}")
	expect(200, `{"status":"ok","db":"connected","app":"unhealthy","state":"starting","held":1}`)
	if got := s.get("/readiness"); got.status != 503 {
		t.Errorf("/readiness with the app away: %d", got.status)
	}
	a.start()
	expect(200, `{"status":"ok","db":"connected","app":"healthy","state":"passing","held":0}`)
	if got := s.probe("/startupz"); got != 200 {
		t.Errorf("/startupz is %d", got)
	}
	if got := s.get("/readiness"); got.status != 200 || got.body != "the app's own" {
		t.Errorf("/readiness: %d %q", got.status, got.body)
	}
	for _, request := range []string{
		"GET /drain", "POST /drain", "POST /drain?x=1", "PUT /drain", "POST /%64rain", "POST http://h/drain", "DELETE /drain#x",
		"POST /drain/", "POST //drain", "POST /./drain", "POST /x/../drain", "POST /hooks/../drain", "POST /hooks/%2e%2e/drain",
	} {
		got := s.raw(request + " HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")
		if strings.HasPrefix(request, "POST /drain") && got.status != 404 && !strings.HasPrefix(request, "POST /drain/") {
			t.Errorf("%s: %d", request, got.status)
		}
	}
	if n := a.drains.Load(); n != 0 {
		t.Errorf("/drain reached the app %d times", n)
	}
	a.stop()
	s.mustHold("/hooks/x", "{}")
	expect(200, `{"status":"ok","db":"connected","app":"unhealthy","state":"holding","held":1}`)
	if got := s.probe("/readyz"); got != 200 {
		t.Errorf("/readyz while it can hold: %d", got)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	expect(503, `{"status":"unhealthy","db":"unreachable","app":"unhealthy","state":"holding","held":1}`)
	const away = "Health check failed: PostgreSQL unreachable"
	s.WaitRecords(1, away)
	throughout(t, 2500*time.Millisecond, "that is told once, not at every look", func() bool { return len(s.Output.Records(away)) == 1 })
	if got := s.probe("/livez"); got != 200 {
		t.Errorf("/livez: %d", got)
	}
}

// A single byte of another protocol neither breaks nor blocks anything.
func TestForeignProtocols(t *testing.T) {
	t.Parallel()
	s, _ := general(t, http.NewServeMux(), env{"HEADER_TIMEOUT": "5s"})
	for _, hello := range []string{"\x16\x03\x01\x00\xa5\x01\x00\x00", "SSH-2.0-x\r\n", "\r\n\r\n", "\x00\x00\x00", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "GET\r\n\r\n", "POST /", ""} {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, hello)
		c.(*net.TCPConn).CloseWrite()
		c.SetDeadline(time.Now().Add(testkit.Patience))
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%q: %v", hello, err)
		}
		c.Close()
	}
	s.mustPass("/hooks/x", "{}")
}
