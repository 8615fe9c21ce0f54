package supervise

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"sluice/infra/steady"
	"sluice/infra/testkit"
	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/config"
	"sluice/sidecar/settings"
)

// trigger is a log that does something once, at the first line that has the
// wanted text.
type trigger struct {
	slog.Handler
	at   func(slog.Record) bool
	pull func()
}

func (h trigger) Handle(ctx context.Context, r slog.Record) error {
	if h.at(r) {
		h.pull()
	}
	return h.Handler.Handle(ctx, r)
}

// The server goes silent at each step of a shutdown: the replica ends within its
// grace, with 0 because nothing was cut off, and the log names the step that
// could not be done.
func TestSilentServerAtEveryStep(t *testing.T) {
	for name, value := range map[string]string{
		"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "APP_URL": nobody,
		"LISTEN_ADDR": "127.0.0.1:0", "PROBE_ADDR": "127.0.0.1:0", "CONTROL_ADDR": "127.0.0.1:0",
	} {
		t.Setenv(name, value)
	}
	cfg, err := config.Load()
	if err != nil {
		t.Fatal(err)
	}
	database := migrated(t)
	t.Run("with a grace of", func(t *testing.T) {
		for _, seconds := range []int{1, 5, 10, 30} {
			for _, step := range []string{"drain", "listeners", "loops", "answers", "leave", "store"} {
				t.Run(fmt.Sprint(seconds, ", at ", step), func(t *testing.T) {
					t.Parallel()
					c := *cfg
					c.TerminationGraceSeconds = seconds
					endSilently(t, &c, database, step)
				})
			}
		}
	})
}

// migrated returns a database in which replicas can join at once.
func migrated(t *testing.T) (database string) {
	t.Helper()
	database = testkit.Database(t)
	s, err := buffer.Open(t.Context(), buffer.Config{URL: database, Instance: uuid.NewString()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return database
}

func endSilently(t *testing.T, cfg *config.Config, database, step string) {
	cable, through := newCable(t, database)
	cfg.DatabaseURL = settings.NewSecret(through)
	cfg.ReplicaName = t.Name()
	log, signals := &testkit.Output{}, make(chan os.Signal, 1)
	silence := func() { cable.up.close(); cable.down.close() }
	r, err := New(cfg, Options{Terminate: signals, Log: slog.New(trigger{
		slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}),
		func(r slog.Record) (at bool) {
			if step == "drain" {
				return r.Message == "Shutdown signal received, starting graceful drain"
			}
			r.Attrs(func(a slog.Attr) bool {
				at = at || r.Message == "Shutdown step begins" && a.Key == "step" && a.Value.String() == step
				return true
			})
			return at
		}, silence,
	})})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan int)
	go func() { ended <- r.Run() }()
	for until := time.Now().Add(patience); !r.joined.Load(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it has not joined")
		}
	}
	stalled := steady.Watch()
	began := time.Now()
	signals <- syscall.SIGTERM
	code := <-ended
	if d := stalled(); d > cfg.Grace()/20 {
		t.Skipf("the machine stalled for %s, which proves nothing", d)
	}
	if took := time.Since(began); took >= cfg.Grace() {
		t.Errorf("ended after %s", took)
	}
	if code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if n := log.Count("Leases could not be given back, they lapse by themselves"); n != 1 && step != "store" {
		t.Errorf("%d lines about leases", n)
	}
	if t.Failed() {
		t.Log(log)
	}
}
