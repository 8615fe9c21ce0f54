package drain_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sluice/app/drain"
	"sluice/infra/leaks"
	"sluice/infra/testkit"
)

func TestMain(m *testing.M) {
	// The first signal.Notify of a process starts a goroutine in the runtime,
	// which must not belong to a synctest bubble.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGUSR1)
	leaks.Main(m)
}

// logged collects what its logger writes.
type logged struct{ testkit.Output }

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

func (l *logged) messages(t *testing.T) []string {
	t.Helper()
	var found []string
	for line := range strings.Lines(l.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		found = append(found, entry["msg"].(string))
		if strings.Contains(entry["msg"].(string), "drain") || strings.Contains(entry["msg"].(string), "grace") {
			for _, key := range []string{"activeRequests", "activeJobs", "activeTotal"} {
				if _, ok := entry[key]; !ok {
					t.Errorf("%q carries no %s", entry["msg"], key)
				}
			}
		}
	}
	return found
}

const (
	began     = "Shutdown signal received, starting graceful drain"
	completed = "Graceful drain completed successfully"
	extending = "Drain timeout, extending grace window once"
	forced    = "Force exit after extended grace timeout, work abandoned"
)

func TestWindows(t *testing.T) {
	const second = time.Second
	tests := []struct {
		name               string
		grace, termination time.Duration
		job                time.Duration // how long it runs unless cut off
		code               int
		took               time.Duration
		messages           []string
	}{
		{"idle", 300 * second, 330 * second, 0, 0, 0, []string{began, completed}},
		{"within the window", 300 * second, 330 * second, 299 * second, 0, 299 * second, []string{began, completed}},
		{"within the extension", 10 * second, 330 * second, 15 * second, 0, 15 * second, []string{began, extending, completed}},
		{"never", 10 * second, 330 * second, time.Hour, 1, 20 * second, []string{began, extending, forced}},
		{"extension bounded", 300 * second, 330 * second, time.Hour, 1, 315 * second, []string{began, extending, forced}},
		{"window bounded", 300 * second, 100 * second, time.Hour, 1, 85 * second, []string{began, forced}},
		{"short termination", 300 * second, 20 * second, time.Hour, 1, 10 * second, []string{began, forced}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &logged{}
				d := drain.New(drain.Config{Grace: tt.grace, Termination: tt.termination, Logger: log.logger()})
				if tt.job > 0 {
					done, ok := d.StartJob()
					if !ok {
						t.Fatal("job refused before the drain")
					}
					go func() {
						defer done()
						select {
						case <-time.After(tt.job):
						case <-d.Cut().Done():
							if !errors.Is(context.Cause(d.Cut()), drain.ErrCut) {
								t.Errorf("cause is %v", context.Cause(d.Cut()))
							}
						}
					}()
				}
				d.Begin("test")
				start := time.Now()
				if code := d.Wait(t.Context()); code != tt.code {
					t.Errorf("exit code %d, want %d", code, tt.code)
				}
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %s, want %s", took, tt.took)
				}
				if got := log.messages(t); !slices.Equal(got, tt.messages) {
					t.Errorf("logged %q, want %q", got, tt.messages)
				}
			})
		})
	}
}

func TestBeginOnce(t *testing.T) {
	d := drain.New(drain.Config{Logger: (&logged{}).logger()})
	var hooks atomic.Int32
	d.OnBegin(func() { hooks.Add(1) })
	var first atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if d.Begin("race") {
				first.Add(1)
			}
		})
	}
	wg.Wait()
	if first.Load() != 1 || hooks.Load() != 1 {
		t.Errorf("began %d times, ran hooks %d times", first.Load(), hooks.Load())
	}
	if _, ok := d.StartJob(); ok {
		t.Error("job started while draining")
	}
}

// No job may start between the last check of the counter and the end of Wait.
func TestNoJobAfterIdle(t *testing.T) {
	for range 200 {
		d := drain.New(drain.Config{Logger: (&logged{}).logger()})
		var running atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					done, ok := d.StartJob()
					if !ok {
						return
					}
					running.Add(1)
					running.Add(-1)
					done()
				}
			})
		}
		d.OnStop("count", func(context.Context) error {
			if n := running.Load(); n != 0 {
				t.Errorf("%d jobs run after the wait", n)
			}
			return nil
		})
		d.Begin("test")
		if code := d.Wait(t.Context()); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		wg.Wait()
	}
}

func TestStopOrder(t *testing.T) {
	d := drain.New(drain.Config{Logger: (&logged{}).logger()})
	var order []string
	for _, name := range []string{"http", "queue", "pool"} {
		d.OnStop(name, func(context.Context) error {
			order = append(order, name)
			if name == "queue" {
				return errors.New("broken")
			}
			return nil
		})
	}
	d.Begin("test")
	if code := d.Wait(t.Context()); code != 1 {
		t.Errorf("exit code %d after a failed stop function", code)
	}
	if !slices.Equal(order, []string{"http", "queue", "pool"}) {
		t.Errorf("stopped in the order %q", order)
	}
}

func TestHTTP(t *testing.T) {
	d := drain.New(drain.Config{Logger: (&logged{}).logger()})
	entered, release := make(chan struct{}), make(chan struct{})
	work := d.Requests(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		w.WriteHeader(http.StatusAccepted)
	}))
	slow := httptest.NewRecorder()
	served := make(chan struct{})
	go func() {
		defer close(served)
		work.ServeHTTP(slow, httptest.NewRequest(http.MethodPost, "/", nil))
	}()
	<-entered

	ask := func(method string) (int, string) {
		w := httptest.NewRecorder()
		d.Handler().ServeHTTP(w, httptest.NewRequest(method, "/drain", nil))
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	want := func(method string, code int, body string) {
		t.Helper()
		if c, b := ask(method); c != code || b != body {
			t.Errorf("%s: %d %s, want %d %s", method, c, b, code, body)
		}
	}
	want(http.MethodGet, 200, `{"draining":false,"activeRequests":1,"activeJobs":0}`)
	want(http.MethodPost, 202, `{"draining":true,"activeRequests":1,"activeJobs":0}`)
	want(http.MethodPost, 200, `{"draining":true,"activeRequests":1,"activeJobs":0}`)

	refused := httptest.NewRecorder()
	work.ServeHTTP(refused, httptest.NewRequest(http.MethodPost, "/", nil))
	if refused.Code != http.StatusServiceUnavailable || refused.Header().Get("Retry-After") == "" {
		t.Errorf("while draining: %d, Retry-After %q", refused.Code, refused.Header().Get("Retry-After"))
	}
	close(release)
	if code := d.Wait(t.Context()); code != 0 {
		t.Errorf("exit code %d", code)
	}
	<-served
	if slow.Code != http.StatusAccepted {
		t.Errorf("request under way got %d", slow.Code)
	}
}

// Only a verified POST begins a drain; GET needs no signature.
func TestVerifiedHTTP(t *testing.T) {
	log := &logged{}
	d := drain.New(drain.Config{Logger: log.logger(), Verify: func(r *http.Request) error {
		if r.Header.Get("Signed") == "" {
			return errors.New("not signed")
		}
		return nil
	}})
	ask := func(method, signed string) int {
		r := httptest.NewRequest(method, "/drain", nil)
		r.Header.Set("Signed", signed)
		w := httptest.NewRecorder()
		d.Handler().ServeHTTP(w, r)
		return w.Code
	}
	if code := ask(http.MethodPost, ""); code != http.StatusUnauthorized || d.Counts().Draining {
		t.Errorf("unsigned: %d, draining %v", code, d.Counts().Draining)
	}
	if got := log.messages(t); !slices.Equal(got, []string{"Drain refused, the request is not the sidecar's"}) {
		t.Errorf("logged %q", got)
	}
	if code := ask(http.MethodGet, ""); code != http.StatusOK {
		t.Errorf("the count: %d", code)
	}
	if code := ask(http.MethodPost, "yes"); code != http.StatusAccepted || !d.Counts().Draining {
		t.Errorf("signed: %d, draining %v", code, d.Counts().Draining)
	}
}

// However short the platform's grace is, and whatever hangs, the program ends
// before it is over.
func TestEndsWithinTheGrace(t *testing.T) {
	for _, termination := range []time.Duration{time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, 330 * time.Second, 24 * time.Hour} {
		for name, hangs := range map[string]struct{ job, stop, deaf bool }{
			"nothing": {}, "a job": {job: true}, "a stop function": {stop: true}, "one that is deaf": {stop: true, deaf: true},
			"all": {true, true, true},
		} {
			synctest.Test(t, func(t *testing.T) {
				d := drain.New(drain.Config{Grace: termination, Termination: termination, Logger: (&logged{}).logger()})
				release := make(chan struct{})
				defer close(release)
				if hangs.job {
					if _, ok := d.StartJob(); !ok {
						t.Fatal("job refused before the drain")
					}
				}
				last := false
				d.OnStop("first", func(ctx context.Context) error {
					if !hangs.stop {
						return nil
					}
					<-ctx.Done()
					if hangs.deaf {
						<-release
					}
					return ctx.Err()
				})
				d.OnStop("last", func(context.Context) error { last = true; return nil })
				d.Begin("test")
				began := time.Now()
				code := d.Wait(t.Context())
				synctest.Wait()
				if took := time.Since(began); took >= termination-min(termination/8, 2*time.Second) || !hangs.job && !hangs.stop && took > 0 {
					t.Errorf("%s hangs, grace %s: ended after %s", name, termination, took)
				}
				if clean := !hangs.job && !hangs.stop; (code == 0) != clean || !last {
					t.Errorf("%s hangs, grace %s: exit code %d, last stop function called: %v", name, termination, code, last)
				}
			})
		}
	}
}
