package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"sluice/infra/leaks"
	"sluice/infra/rehearsal/chaos/receiver"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		if program := map[string]func(context.Context) error{"serve": liar, "receive": receive}[os.Args[1]]; program != nil {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
			defer stop()
			if err := program(ctx); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(3)
			}
			return
		}
	}
	leaks.Main(m)
}

func receive(ctx context.Context) error {
	return receiver.Serve(ctx, receiver.Options{
		Addr: os.Getenv(AddrVar), File: os.Getenv(RecordsVar), Name: os.Getenv(ReplicaVar),
	})
}

const liarSchema = `
CREATE TABLE IF NOT EXISTS webhook_queue (id bigint, sluice_id uuid, lane text, bucket int, delivery_id text, status text,
	attempts int, awaited_by uuid, dup_count int, last_error text, queued_at timestamptz, claimed_at timestamptz, processed_at timestamptz)`

// liar is a sidecar that stores nothing: it forwards what the app takes at once,
// acknowledges everything, and forgets every hundredth webhook.
func liar(ctx context.Context) error {
	for done := false; !done; {
		conn, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
		if err != nil {
			continue
		}
		_, err = conn.Exec(ctx, liarSchema)
		done = err == nil || strings.Contains(err.Error(), "already exists") || strings.Contains(err.Error(), "duplicate key")
		conn.Close(ctx)
	}
	var count atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "go_goroutines 10\n") })
	mux.HandleFunc("GET "+statusPath, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"state":"passing"}`) })
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if n := count.Add(1); err == nil && n%100 != 0 {
			req, _ := http.NewRequest(http.MethodPost, os.Getenv("APP_URL")+r.URL.Path, strings.NewReader(string(body)))
			req.Header = r.Header.Clone()
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
			}
		}
		w.WriteHeader(http.StatusAccepted)
	})
	ended := make(chan error, 3)
	for _, name := range []string{"LISTEN_ADDR", "PROBE_ADDR", "CONTROL_ADDR"} {
		go func() { ended <- http.ListenAndServe(os.Getenv(name), mux) }()
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

// setUp returns a short run of the liar.
func setUp(t *testing.T) Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := Defaults()
	c.For, c.Every, c.Seed, c.Rate, c.Lanes, c.SettleLimit = 3*calm, time.Second, 5, 200, 2, 5*time.Second
	c.Sidecar, c.Receiver, c.Dir = self, []string{self, "receive"}, t.TempDir()
	c.Progress = func(line string) { t.Log(line) }
	return c
}

// TestLiarIsFound: a webhook that is acknowledged and dropped is lost, and the
// report says so.
func TestLiarIsFound(t *testing.T) {
	c := setUp(t)
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := Text(&text, r); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + text.String())
	if len(r.Verdict.Lost) == 0 || r.Good() {
		t.Errorf("lost %d, good %v", len(r.Verdict.Lost), r.Good())
	}
	if r.Verdict.Acknowledged < 200 {
		t.Errorf("only %d were acknowledged", r.Verdict.Acknowledged)
	}
	if len(r.Stories) == 0 || !strings.Contains(text.String(), "try 1 sent to") {
		t.Error("no story is told")
	}
	if entries, err := os.ReadDir(r.Logs); err != nil || len(entries) == 0 {
		t.Errorf("the logs of a failed run are not kept: %v, %v", entries, err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	c := setUp(t)
	ctx, cancel := context.WithCancel(t.Context())
	c.Progress = func(string) { cancel() }
	c.For = time.Minute
	running := goleak.IgnoreCurrent()
	if _, err := Run(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that was cut off: %v", err)
	}
	if err := leaks.Find(running); err != nil {
		t.Error(err)
	}
}

func TestConfigurationListsEveryProblem(t *testing.T) {
	c := Defaults()
	c.For, c.Order, c.Rate = time.Second, "none", 0
	_, err := Run(t.Context(), c)
	for _, want := range []string{"1s is too short", `order "none"`, "rate 0", "programs are missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %q", err, want)
		}
	}
}

func TestComposedWebhookIsWhatItSays(t *testing.T) {
	l := lane{&kinds[0], "lane-1"}
	for _, bytes := range []int{300, 300 << 10} {
		w, q := compose(l, "1-2", wish{bytes: bytes, late: time.Second, refuse: 422})
		if w.Lane != "github/lane-1" || w.Bytes != len(q.body) || w.Hash != receiver.Sum(q.body) || len(q.body) < bytes || len(q.body) > bytes+8 {
			t.Errorf("%+v, %d bytes", w, len(q.body))
		}
		for _, field := range []string{"X-GitHub-Delivery: 1-2\r\n", "Chaos-Id: 1-2\r\n", "Chaos-Late: 1000\r\n", "Chaos-Refuse: 422\r\n", fmt.Sprintf("Content-Length: %d\r\n", len(q.body))} {
			if !strings.Contains(string(q.head), field) {
				t.Errorf("no %q in %s", field, q.head)
			}
		}
	}
}
