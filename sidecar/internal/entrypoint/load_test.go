package entrypoint

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"sluice/infra/testkit"
)

// receive is the app of the load test: it writes each webhook to a file before it
// answers. The file survives, since only the process is killed.
func receive(addr string) {
	log, err := os.OpenFile(filepath.Join(os.Getenv("NOTES"), "received"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = fmt.Fprintf(log, "%s\n", body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	if err := http.ListenAndServe(addr, mux); err != nil {
		panic(err)
	}
}

// The app is killed twenty times while webhooks arrive through a real sidecar. The
// wrapper's process never ends, and the app gets each acknowledged webhook.
func TestTwentyKillsUnderLoadLoseNothing(t *testing.T) {
	needsLinux(t)
	ingress, probes, app := testkit.Address(t), testkit.Address(t), testkit.Address(t)
	// The limits are long, so that a slow machine is not taken for an outage.
	startSidecar(t, "http://"+probes+"/readyz", append(os.Environ(), "DATABASE_URL="+testkit.Database(t), "LISTEN_ADDR="+ingress,
		"PROBE_ADDR="+probes, "CONTROL_ADDR="+testkit.Address(t), "APP_URL=http://"+app, "LOG_FORMAT=json",
		"HOLD_TIMEOUT=30s", "APP_PROBE_TIMEOUT=30s", "WEBHOOK_ROUTES=/hooks/load=generic+unverified"))
	w := startWrapper(t, "receive", "APP_ADDR="+app)

	stopLoad := startLoad(t, "http://"+ingress+"/hooks/load")
	for i := 1; i <= 20; i++ {
		w.await("pids", i)
		// Kill it while it works, not while it starts.
		w.await("received", len(w.notes("received"))+20)
		w.kill(syscall.SIGKILL)
	}
	w.await("pids", 21)
	acknowledged := stopLoad()
	t.Logf("%d webhooks acknowledged", len(acknowledged))

	select {
	case <-w.Ended:
		t.Fatal("the wrapper has ended")
	default:
	}
	delivered(t, w, acknowledged)
}

// delivered waits until the app has all of the webhooks, for as long as the number of
// missing ones falls.
func delivered(t *testing.T, w *wrapper, missing []string) {
	t.Helper()
	for len(missing) > 0 {
		before := len(missing)
		testkit.Eventually(t, fmt.Sprintf("%d acknowledged webhooks are at the app", before), func() bool {
			there := map[string]bool{}
			for _, id := range w.notes("received") {
				there[id] = true
			}
			missing = slices.DeleteFunc(missing, func(id string) bool { return there[id] })
			return len(missing) < before
		})
	}
}

// startLoad posts from several senders, each one webhook after another. Calling the
// returned function ends the load and returns the acknowledged webhooks.
func startLoad(t *testing.T, url string) (stop func() []string) {
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var acknowledged []string
	var senders sync.WaitGroup
	var refused atomic.Int64
	for s := range 8 {
		senders.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				id := fmt.Sprintf("%d-%d", s, n)
				if !post(ctx, url, id) {
					refused.Add(1)
					continue
				}
				mu.Lock()
				acknowledged = append(acknowledged, id)
				mu.Unlock()
			}
		})
	}
	return func() []string {
		cancel()
		senders.Wait()
		// One webhook of each sender may have been under way when the load ended.
		if n := refused.Load(); n > 8 {
			t.Errorf("%d webhooks were refused: the replica left ingress", n)
		}
		return acknowledged
	}
}

func post(ctx context.Context, url, id string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(id))
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, resp.Body) // the status is what counts
	_ = resp.Body.Close()
	return resp.StatusCode/100 == 2
}

// startSidecar builds and runs the real sidecar, and waits until it can hold.
func startSidecar(t *testing.T, ready string, env []string) {
	t.Helper()
	cmd := exec.Command(testkit.PlainProgram(t, "sluice/sidecar/cmd/sidecar"), "serve")
	cmd.Env = env
	testkit.Start(t, cmd)
	testkit.Eventually(t, "the sidecar can hold", func() bool {
		resp, err := http.Get(ready)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}
