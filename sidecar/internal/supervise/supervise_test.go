package supervise

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"sluice/infra/testkit"
	"sluice/sidecar/internal/config"
	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/lifecycle"
)

// A port that is taken ends the start, and what was opened before is closed.
func TestATakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, value := range map[string]string{
		"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "APP_URL": nobody,
		"LISTEN_ADDR": "127.0.0.1:0", "PROBE_ADDR": "127.0.0.1:0", "CONTROL_ADDR": taken.Addr().String(),
	} {
		t.Setenv(name, value)
	}
	cfg, err := config.Load()
	if err != nil {
		t.Fatal(err)
	}
	log := &testkit.Output{}
	r, err := New(cfg, Options{Log: slog.New(slog.NewTextHandler(log, nil)), Terminate: make(chan os.Signal)})
	if err != nil {
		t.Fatal(err)
	}
	if code := r.Run(); code != 1 || log.Count("Sidecar can't start") != 1 || log.Count("CONTROL_ADDR") > 0 {
		t.Errorf("exit code %d", code)
	}
	if log.Count(taken.Addr().String()) == 0 {
		t.Error("the log does not name the address")
	}
	select {
	case <-r.loops.ended():
	case <-time.After(patience):
		t.Error("a listener that was open before still serves")
	}
}

// The log tells every transition, those before the end of the replica too, and
// how many webhooks a replay has delivered.
func TestTransitionsAreTold(t *testing.T) {
	r, log := replica(t, nobody, gate.PerLane)
	r.gate.Fire(lifecycle.AppUp)
	look, _ := r.gate.Look(1, true)
	r.gate.Surveyed(look)
	r.gate.Fire(lifecycle.AppDown)
	r.gate.Fire(lifecycle.AppDown) // no change, no line
	over, cancel := context.WithCancel(t.Context())
	cancel()
	r.transitionLoop(over)
	for _, line := range []string{"from=starting state=replaying", "from=replaying state=passing", "from=passing state=holding",
		`msg="Startup webhook queue replay complete" queuedWebhooksProcessed=0`} {
		if log.Count(line) != 1 {
			t.Errorf("%d lines %q", log.Count(line), line)
		}
	}
	if n := log.Count("State changed"); n != 3 {
		t.Errorf("%d changes told, want 3", n)
	}
}

// A log that nobody reads costs lines, never the gate's time.
func TestTransitionsDoNotWait(t *testing.T) {
	r, log := replica(t, nobody, gate.PerLane)
	for range 2 * cap(r.transitions) {
		r.gate.Fire(lifecycle.AppUp)
		r.gate.Fire(lifecycle.AppDown)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	r.transitionLoop(over)
	if n := log.Count("State changed"); n != cap(r.transitions) {
		t.Errorf("%d lines, want the %d that there is room for", n, cap(r.transitions))
	}
	if got := strings.TrimSpace(r.gate.State().String()); got != "holding" {
		t.Errorf("state is %s", got)
	}
}
