package balancer

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/infra/leaks"
	"sluice/infra/rehearsal/timeline"
	"sluice/infra/testkit"
)

// replica is a server with probes of its own.
type replica struct {
	*httptest.Server
	started, ready, reset atomic.Bool
	served                atomic.Int64
}

func newReplica(t *testing.T) *replica {
	r := &replica{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ok := true
		switch req.URL.Path {
		case "/startupz":
			ok = r.started.Load()
		case "/readyz":
			ok = r.ready.Load()
		default:
			r.served.Add(1)
			if r.reset.Load() {
				panic(http.ErrAbortHandler)
			}
			body, _ := io.ReadAll(req.Body)
			w.Write(body)
		}
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *replica) addr() string { return strings.TrimPrefix(r.URL, "http://") }

func open(t *testing.T, o Options) (*Balancer, *timeline.Log) {
	t.Helper()
	log := &timeline.Log{}
	o.ProbeEvery = 2 * time.Millisecond
	b, err := Open(o, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, log
}

// post returns the status, who answered and the body.
func post(t *testing.T, b *Balancer) (status int, by, body string) {
	t.Helper()
	resp, err := http.Post(b.URL()+"/hooks/x", "text/plain", strings.NewReader("payload"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	back, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get(ReplicaHeader), string(back)
}

func TestBalancerFollowsReadiness(t *testing.T) {
	running := goleak.IgnoreCurrent()
	defer func() {
		if err := leaks.Find(running); err != nil {
			t.Error(err)
		}
	}()
	b, _ := open(t, Options{})
	if status, by, _ := post(t, b); status != 503 || by != "" {
		t.Errorf("with no replica: %d by %q", status, by)
	}
	r := newReplica(t)
	r.ready.Store(true)
	first := b.Add("r1", r.addr(), r.addr())
	select {
	case <-first:
		t.Fatal("ready before /startupz passed")
	default:
	}
	if status, _, _ := post(t, b); status != 503 {
		t.Errorf("before /startupz: %d", status)
	}
	r.started.Store(true)
	<-first
	if status, by, body := post(t, b); status != 200 || by != "r1" || body != "payload" {
		t.Errorf("ready: %d by %q: %q", status, by, body)
	}
	r.ready.Store(false)
	testkit.Eventually(t, "503 when not ready", func() bool { status, _, _ := post(t, b); return status == 503 })
	r.ready.Store(true)
	testkit.Eventually(t, "200 when ready again", func() bool { status, _, _ := post(t, b); return status == 200 })
	http.DefaultClient.CloseIdleConnections()
	b.Close()
	r.Close()
}

func TestBalancerTakesTurns(t *testing.T) {
	b, _ := open(t, Options{})
	for _, name := range []string{"r1", "r2"} {
		r := newReplica(t)
		r.started.Store(true)
		r.ready.Store(true)
		<-b.Add(name, r.addr(), r.addr())
	}
	seen := map[string]int{}
	for range 10 {
		_, by, _ := post(t, b)
		seen[by]++
	}
	if seen["r1"] != 5 || seen["r2"] != 5 {
		t.Errorf("turns %v", seen)
	}
}

func TestLeavingReplicaIsRoutedToForAWhile(t *testing.T) {
	b, log := open(t, Options{})
	r := newReplica(t)
	r.started.Store(true)
	r.ready.Store(true)
	<-b.Add("r1", r.addr(), r.addr())
	b.Leave(t.Context(), "r1", 3*time.Second)
	r.ready.Store(false)
	if status, _, _ := post(t, b); status != 200 {
		t.Errorf("leaving: %d", status)
	}
	testkit.Eventually(t, "gone", func() bool { status, _, _ := post(t, b); return status == 503 })
	testkit.Eventually(t, "the event", func() bool {
		return slices.ContainsFunc(log.Events(), func(e timeline.Event) bool { return e.What == "no longer routes to r1" })
	})
}

func TestResetIs503AndNotRepeated(t *testing.T) {
	b, _ := open(t, Options{})
	r := newReplica(t)
	r.started.Store(true)
	r.ready.Store(true)
	<-b.Add("r1", r.addr(), r.addr())
	r.reset.Store(true)
	if status, by, _ := post(t, b); status != 503 || by != "r1" {
		t.Errorf("reset: %d by %q", status, by)
	}
	if n := r.served.Load(); n != 1 {
		t.Errorf("the replica was asked %d times", n)
	}
}

func TestRetriesGoToTheNextReplica(t *testing.T) {
	b, _ := open(t, Options{Retries: 1})
	bad, good := newReplica(t), newReplica(t)
	for name, r := range map[string]*replica{"bad": bad, "good": good} {
		r.started.Store(true)
		r.ready.Store(true)
		<-b.Add(name, r.addr(), r.addr())
	}
	bad.reset.Store(true)
	for range 4 {
		if status, by, body := post(t, b); status != 200 || by != "good" || body != "payload" {
			t.Errorf("%d by %q: %q", status, by, body)
		}
	}
	if bad.served.Load() == 0 {
		t.Error("the bad replica was never tried")
	}
	good.reset.Store(true)
	if status, _, _ := post(t, b); status != 503 {
		t.Errorf("when all fail: %d", status)
	}
}
