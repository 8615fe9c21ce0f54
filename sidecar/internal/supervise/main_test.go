package supervise

import (
	"context"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"testing"
	"time"

	"sluice/infra/leaks"
	"sluice/infra/testkit"
	"sluice/sidecar/internal/config"
	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/health"
	"sluice/sidecar/internal/ingress"
	"sluice/sidecar/internal/metrics"
	"sluice/sidecar/internal/replay"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/settings"
)

func TestMain(m *testing.M) {
	// Tests that are parallel wait more than they work.
	if err := flag.Set("test.parallel", strconv.Itoa(max(24, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	testkit.Main(m, func() error { return leaks.Find() })
}

// patience is how long anything may take to come about, on a slow machine too.
const patience = time.Minute

// replica returns one whose rooms are made, but not opened, in front of an app
// at that address. It has no database; whole replicas are tested in e2e.
func replica(t *testing.T, app string, order gate.Order) (*Replica, *testkit.Output) {
	t.Helper()
	cfg := &config.Config{
		Common: settings.Common{MaxBodyBytes: 1000, MaxInflightBytes: 10_000},
		AppURL: app, AppHealthPath: "/healthz", AppProbeTimeout: patience,
		HoldMaxRows: 10, HoldMaxBytes: 1000, HoldMaxUnverifiedBytes: 100, Order: "lane",
	}
	if order == gate.Strict {
		cfg.Order = "strict"
	}
	log := &testkit.Output{}
	r := &Replica{
		cfg: cfg, log: slog.New(slog.NewTextHandler(log, nil)), metrics: metrics.New(), began: time.Now(),
		beatNow: make(chan struct{}, 1), transitions: make(chan transition, 64), faults: make(chan error, 3),
	}
	r.vitals.Store(&vitals{})
	r.counted.Store(&counted{})
	r.useRoutes(nil)
	r.store = &countedStore{}
	r.gate = gate.New(gate.Config{Order: order, Changed: r.changed})
	var err error
	if r.app, err = upstream.New(upstream.Config{URL: app, HealthPath: cfg.AppHealthPath}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.app.Close)
	r.prober = r.app.NewProber(cfg.AppProbeTimeout)
	r.health = health.New(health.Config{App: r.prober, Up: func() {}, Down: func() {}, Metrics: r.metrics, Log: r.log})
	r.ingress = ingress.New(ingress.Deps{Config: cfg, Gate: r.gate, Upstream: r.app, Metrics: r.metrics, Log: r.log,
		Vitals: r.ingressVitals, AppDown: r.health.Lost, Kick: func() {}})
	r.replay = replay.New(replay.Deps{Gate: r.gate, App: r.app, Healthy: r.health.OK, AppDown: r.health.Lost, Metrics: r.metrics, Log: r.log})
	return r, log
}

// nobody is an address at which nobody listens.
const nobody = "http://127.0.0.1:1"

// answering returns the address of an app that answers so.
func answering(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// well is an app that is.
type well struct{}

func (well) Probe(context.Context) error { return nil }

// findWell lets the replica find its app well.
func findWell(t *testing.T, r *Replica) {
	t.Helper()
	r.health.App = well{}
	r.health.Check(t.Context())
}
