package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/infra/testkit"
)

// ledgerVar names the file in which the app of `sidecar run` records webhooks. Where
// it is set the test binary is that app.
const ledgerVar = "SLUICE_E2E_LEDGER"

// playApp is an app that records webhooks and drains at SIGTERM.
func playApp(ledger string) int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	file, err := os.OpenFile(ledger, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /pid", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getpid()) })
	mux.HandleFunc("POST /", func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = file.WriteString(string(body) + "\n") // one write, so no line is torn
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	})
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			panic(err)
		}
	}()
	<-signals
	if err := server.Shutdown(context.Background()); err != nil {
		panic(err)
	}
	code, _ := strconv.Atoi(os.Getenv("SLUICE_E2E_EXIT"))
	return code
}

// both starts the sidecar and the app in one process tree, on a platform that says
// in PORT where it sends requests.
func both(t *testing.T, db *database, ledger string, more ...env) *sidecar {
	t.Helper()
	a := &app{t: t, addr: testkit.Address(t)}
	s, cmd := prepare(t, testkit.Program(t, program), db.url, a, append([]env{{ledgerVar: ledger, "LISTEN_ADDR": "", "REPLICA_NAME": "one"}}, more...)...)
	_, port, _ := net.SplitHostPort(s.addr)
	cmd.Args = []string{cmd.Path, "run", "--", os.Args[0]}
	cmd.Env = append(cmd.Env, "PORT="+port)
	s.Process = testkit.Start(t, cmd)
	return s
}

// recorded returns the bodies in the ledger.
func recorded(ledger string) map[string]bool {
	text, _ := os.ReadFile(ledger)
	found := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		found[strings.TrimSpace(line)] = true
	}
	return found
}

// One container: the app crashes, the container is replaced, and killed as a whole.
// What was acknowledged reaches the app, and no app survives its sidecar.
func TestRunLosesNothing(t *testing.T) {
	t.Parallel()
	db, ledger := newDatabase(t), filepath.Join(t.TempDir(), "ledger")
	s := both(t, db, ledger)
	s.waitState("passing")

	var url sync.Map // the sidecar that takes webhooks now
	url.Store("now", s.url)
	var acknowledged sync.Map
	ctx, over := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	for lane := range 3 {
		senders.Go(func() {
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				<-pace.C
				now, _ := url.Load("now")
				body := numbered(fmt.Sprint("run", lane), n)
				resp, err := client.Post(now.(string)+"/hooks/x", "application/json", strings.NewReader(body))
				if err != nil {
					continue // nobody listens, which a sender sees
				}
				resp.Body.Close()
				if resp.StatusCode/100 == 2 {
					acknowledged.Store(body, true)
				}
			}
		})
	}
	more := func(when string) {
		from := len(recorded(ledger))
		testkit.Eventually(t, "webhooks reach the app "+when, func() bool { return len(recorded(ledger)) > from+30 })
	}
	pid := func() int {
		n := 0
		testkit.Eventually(t, "the app tells its process", func() bool {
			n, _ = strconv.Atoi(s.get("/pid").body)
			return n > 0
		})
		return n
	}
	more("at first")
	if err := syscall.Kill(pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	more("after it crashed")

	s.Signal(syscall.SIGTERM)
	testkit.Eventually(t, "webhooks are held while the app drains", func() bool { return db.count("pending") > 0 })
	url.Store("now", "http://"+testkit.Address(t)) // the platform has taken the replica out
	if code := s.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	s = both(t, db, ledger)
	url.Store("now", s.url)
	more("after it was replaced")

	old := pid()
	s.Kill()
	testkit.Eventually(t, "the app ends with its sidecar", func() bool { return errors.Is(syscall.Kill(old, 0), syscall.ESRCH) })
	s = both(t, db, ledger)
	url.Store("now", s.url)
	more("after both were killed")
	over()
	senders.Wait()
	testkit.Eventually(t, "every webhook that was acknowledged is recorded", func() bool {
		found, missing := recorded(ledger), 0
		acknowledged.Range(func(body, _ any) bool {
			if !found[body.(string)] {
				missing++
			}
			return true
		})
		return missing == 0
	})
}

// The exit code says what went wrong: the app's own, that of a command that can't be
// started, or 1 for a port that is taken. The other half ends in each case.
func TestRunExitCodes(t *testing.T) {
	t.Parallel()
	t.Run("the app's", func(t *testing.T) {
		t.Parallel()
		s := both(t, newDatabase(t), filepath.Join(t.TempDir(), "ledger"), env{"SLUICE_E2E_EXIT": "5"})
		s.waitState("passing")
		s.Signal(syscall.SIGTERM)
		if code := s.ExitCode(); code != 5 {
			t.Errorf("exit code %d, want 5", code)
		}
	})
	t.Run("no such command", func(t *testing.T) {
		t.Parallel()
		s, cmd := prepare(t, testkit.Program(t, program), newDatabase(t).url, &app{t: t, addr: testkit.Address(t)})
		cmd.Args = []string{cmd.Path, "run", "--", "/no/such/app"}
		s.Process = testkit.Start(t, cmd)
		if code := s.ExitCode(); code != 127 {
			t.Errorf("exit code %d, want 127", code)
		}
	})
	t.Run("the port is taken", func(t *testing.T) {
		t.Parallel()
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		ledger := filepath.Join(t.TempDir(), "ledger")
		s := both(t, newDatabase(t), ledger, env{"LISTEN_ADDR": taken.Addr().String()})
		if code := s.ExitCode(); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
	})
}
