package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"sluice/infra/testkit"
)

// The test is the service manager: it keeps the socket, and hands it to one
// sidecar after the other. Under load no connection is refused and nothing lost.
func TestRestartBySocketActivation(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	socket := listeningSocket(t)
	addr := socket.Addr().String()
	first := activated(t, socket, db, a)

	var sent, got sync.Map
	a.does(func(_ http.ResponseWriter, _ *http.Request, d delivery) int {
		got.Store(d.body, true)
		return http.StatusOK
	})
	// One connection for each webhook: a kept-alive one would hide a refusal.
	sender := &http.Client{Timeout: testkit.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	var senders sync.WaitGroup
	var over atomic.Bool
	var count atomic.Int64
	for lane := range 4 {
		senders.Add(1)
		go func() {
			defer senders.Done()
			for n := 0; !over.Load(); n++ {
				body := numbered(fmt.Sprint("activated", lane), n)
				resp, err := sender.Post("http://"+addr+"/hooks/x", "application/json", strings.NewReader(body))
				if err != nil {
					t.Errorf("a webhook was refused: %v", err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode/100 != 2 {
					t.Errorf("a webhook got %d", resp.StatusCode)
				}
				sent.Store(body, true)
				count.Add(1)
			}
		}()
	}
	more := func() {
		from := count.Load()
		testkit.Eventually(t, "webhooks go on", func() bool { return t.Failed() || count.Load() > from+50 })
	}
	more()
	for s, restart := first, 0; restart < 2; restart++ {
		s.Signal(syscall.SIGTERM)
		if code := s.ExitCode(); code != 0 {
			t.Errorf("exit code %d, want 0: the app stays and the socket is kept", code)
		}
		if drains := a.drains.Load(); drains != 0 {
			t.Errorf("the app, which stays, was told to drain %d times", drains)
		}
		s = activated(t, socket, db, a)
		more()
	}
	over.Store(true)
	senders.Wait()
	sent.Range(func(body, _ any) bool {
		testkit.Eventually(t, "the app has "+body.(string), func() bool { _, ok := got.Load(body); return ok })
		return !t.Failed()
	})
}

// On a socket that nobody accepts from, senders would wait for ever.
func TestInheritedSocketMustBeServed(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	socket := listeningSocket(t)
	s := underManager(t, socket, "postgres://localhost/none", a, env{"LISTEN_ADDR": testkit.Address(t)})
	if code := s.ExitCode(); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	if out := s.Output.String(); !strings.Contains(out, "inherited socket "+socket.Addr().String()+" must be one of") {
		t.Errorf("it says %s", out)
	}
}

// With Type=notify the units after this one start once it listens.
func TestServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	start(t, newDatabase(t), newApp(t), env{"NOTIFY_SOCKET": path})
	b := make([]byte, 64)
	n, err := manager.Read(b)
	if string(b[:n]) != "READY=1" || err != nil {
		t.Errorf("told %q, %v", b[:n], err)
	}
}

func listeningSocket(t testing.TB) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// activated runs a sidecar on a socket of the service manager.
func activated(t testing.TB, socket *net.TCPListener, db *database, a *app) *sidecar {
	t.Helper()
	s := underManager(t, socket, db.url, a, env{
		"LISTEN_ADDR": socket.Addr().String(), "APP_STAYS": "true", "STARTUP_GATE": "buffer",
	})
	s.waitListening()
	return s
}

// underManager starts a sidecar as systemd does: LISTEN_PID is its own, which
// only the process itself knows before it runs.
func underManager(t testing.TB, socket *net.TCPListener, databaseURL string, a *app, more ...env) *sidecar {
	t.Helper()
	file, err := socket.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() // the process has a copy
	s, cmd := prepare(t, testkit.Program(t, program), databaseURL, a, append(more, env{"LISTEN_FDS": "1", "LISTEN_FDNAMES": "sluice.socket"})...)
	cmd.Args = []string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, cmd.Path, "serve"}
	cmd.Path = "/bin/sh"
	cmd.ExtraFiles = []*os.File{file}
	s.Process = testkit.Start(t, cmd)
	return s
}
