// Package supervise runs a replica: it opens the rooms in order, turns probe
// results and signals into the gate's events, and closes the rooms in reverse
// (shutdown.go: the whole order of a shutdown is there).
//
// It alone starts and stops goroutines that outlive a request. It must never
// decide about a webhook. cmd calls it.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/config"
	"sluice/sidecar/internal/control"
	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/health"
	"sluice/sidecar/internal/ingress"
	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/loop"
	"sluice/sidecar/internal/metrics"
	"sluice/sidecar/internal/replay"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/internal/webhook"
	"sluice/sidecar/internal/wire"
	"sluice/sidecar/routes"
)

// Options are what a replica needs besides its settings.
type Options struct {
	Version string
	Log     *slog.Logger
	// Terminate brings SIGTERM and SIGINT.
	Terminate <-chan os.Signal
	// Holding, unless nil, is called when a shutdown has begun and every webhook is
	// held from now on: the app may be stopped. It must not wait.
	Holding func()

	// The outside world, for the simulator. Each is the real one when nil.
	Store  func(buffer.Config) (Store, error)
	Listen func(network, addr string) (net.Listener, error)
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error) // to the app
}

// Store is what a replica needs of the buffer.
type Store interface {
	ingress.Queue
	replay.Store
	Migrate(context.Context) error
	Join(ctx context.Context, state string) error
	Seq() int64
	Beat(context.Context, buffer.Presence) (peers []buffer.Peer, gap time.Duration, err error)
	FreeAwaited(ctx context.Context, awaited func(id string) bool) (int64, error)
	Leave(context.Context) error
	Stats(context.Context) (buffer.Stats, error)
	Flow() buffer.Flow
	Inserted(context.Context) (int64, error)
	Ping(context.Context) error
	Retain(ctx context.Context, keep time.Duration) (int64, error)
	RetainFailed(ctx context.Context, keep time.Duration) (int64, error)
	RevisionProven(ctx context.Context, revision string) (bool, error)
	ProveRevision(ctx context.Context, revision string) error
	Close()
}

func openStore(c buffer.Config) (Store, error) {
	s, err := buffer.Open(context.Background(), c)
	if err != nil {
		return nil, err // never a nil *buffer.Store that looks like a Store
	}
	return s, nil
}

// Replica is one running sidecar.
type Replica struct {
	cfg      *config.Config
	opt      Options
	log      *slog.Logger
	instance string
	began    time.Time

	store   Store
	gate    *gate.Gate
	app     *upstream.Client
	prober  *upstream.Prober
	ingress *ingress.Ingress
	replay  *replay.Replay
	metrics *metrics.Metrics

	health   *health.Health
	vitals   atomic.Pointer[vitals]
	counted  atomic.Pointer[counted]
	joined   atomic.Bool // registered among the replicas, migrations applied
	sealed   atomic.Bool
	proven   atomic.Bool  // this revision's app has been healthy before
	replayed atomic.Int64 // replay's count when replaying began
	beatNow  chan struct{}
	orphaned chan struct{} // a row may be awaited by nobody
	drainNow chan struct{} // by command, before SIGTERM

	drainBegun bool // of Run's goroutine

	transitions chan transition // to be logged

	routes  atomic.Pointer[[]routes.Route] // in force
	resigns atomic.Pointer[map[string]func(*webhook.Webhook)]

	settleBy atomic.Pointer[time.Time] // set before replay is told to end

	socketStays bool // the service manager keeps the public socket: servicemanager.go

	public  *wire.Server
	servers []server   // in the order in which they are closed
	faults  chan error // of a listener that ended by itself
	loops   loops
}

// New opens only what shows whether the settings are right.
func New(cfg *config.Config, opt Options) (*Replica, error) {
	if opt.Store == nil {
		opt.Store = openStore
	}
	var sockets inherited
	if opt.Listen == nil {
		var err error
		if sockets, err = inherit(cfg.ListenAddr, cfg.ProbeAddr, cfg.ControlAddr); err != nil {
			return nil, err
		}
		opt.Listen = sockets.listen
	}
	r := &Replica{
		cfg: cfg, opt: opt, log: opt.Log, socketStays: sockets.has(cfg.ListenAddr), began: time.Now(), metrics: metrics.New(),
		beatNow: make(chan struct{}, 1), orphaned: make(chan struct{}, 1), drainNow: make(chan struct{}, 1), faults: make(chan error, 3), transitions: make(chan transition, 64),
	}
	r.vitals.Store(&vitals{})
	r.counted.Store(&counted{})
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make instance id: %w", err)
	}
	r.instance = id.String()
	r.gate = gate.New(gate.Config{Order: cfg.GateOrder(), CatchupLimit: cfg.CatchupLimit, Changed: r.changed})
	r.metrics.State.WithLabelValues(lifecycle.Starting.String()).Set(1)
	r.app, err = upstream.New(upstream.Config{URL: cfg.AppURL, HealthPath: cfg.AppHealthPath, Secret: cfg.SluiceSecret.Reveal(), Dial: opt.Dial})
	if err != nil {
		return nil, fmt.Errorf("APP_URL: %w", err)
	}
	r.useRoutes(cfg.Routes)
	r.prober = r.app.NewProber(cfg.AppProbeTimeout)
	r.health = health.New(health.Config{
		App: r.prober, Addr: cfg.AppURL, Every: cfg.AppProbeInterval, EveryDown: cfg.AppProbeIntervalOff,
		Up: func() { r.gate.Fire(lifecycle.AppUp) }, Down: func() { r.gate.Fire(lifecycle.AppDown) }, Metrics: r.metrics, Log: r.log,
	})
	password, err := cfg.DatabasePassword()
	if err != nil {
		return nil, err
	}
	r.store, err = opt.Store(buffer.Config{
		URL: cfg.DatabaseURL.Reveal(), Instance: r.instance, Name: cfg.ReplicaName, Strict: cfg.Order == "strict",
		AppendTimeout: cfg.HoldTimeout, Keys: cfg.BufferKeys, Password: password, Log: r.log,
	})
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	r.ingress = ingress.New(ingress.Deps{
		Config: cfg, Gate: r.gate, Queue: r.store, Upstream: r.app, Metrics: r.metrics, Log: r.log,
		Vitals: r.ingressVitals, AppDown: r.health.Lost, Kick: func() { r.replay.Held() },
		Answered: func(status int, verified bool) { r.replay.Answered(status, verified) }, Orphaned: func() { loop.Poke(r.orphaned) },
	})
	r.replay = replay.New(replay.Deps{
		Config: replay.Config{Concurrency: cfg.ReplayConcurrency, Freshen: r.freshen, Policy: upstream.Policy{
			MaxAttempts: cfg.ReplayMaxAttempts, AwayLimit: cfg.ReplayAwayLimit, Timeout: cfg.AppAnswerTimeout,
			MinBackoff: cfg.ReplayMinBackoff, MaxBackoff: cfg.ReplayMaxBackoff,
		}, BreakerLimit: cfg.BreakerLimit, SettleBy: func() time.Time { return *r.settleBy.Load() }},
		Store: r.store, Gate: r.gate, App: r.app, Healthy: r.health.OK, AppDown: r.health.Lost, Metrics: r.metrics, Log: r.log,
		BreakerChanged: func() { loop.Poke(r.beatNow) },
	})
	return r, nil
}

// Run serves until SIGTERM and returns the exit code: 0 when all was drained,
// 1 when something had to be cut off or a listener failed.
func (r *Replica) Run() int {
	if err := r.listen(); err != nil {
		closing, cancel := context.WithTimeout(context.Background(), reserve)
		defer cancel()
		r.log.Error("Sidecar can't start", "err", errors.Join(err, r.closeServers(closing)))
		r.store.Close()
		return 1
	}
	ctx, stop := context.WithCancel(context.Background())
	for name, loop := range map[string]func(context.Context){
		"membership": r.membershipLoop, "awaited": r.freeLoop, "health": r.health.Run, "vitals": r.vitalsLoop, "count": r.countLoop, "retention": r.retainLoop, "routes": r.routesLoop,
		"transitions": r.transitionLoop, "stats": r.statsLoop, "revision": r.revisionLoop, "replay": r.replay.Run,
	} {
		r.loops.start(name, func() { loop(ctx) })
	}
	r.log.Info("Sidecar started", "version", r.opt.Version, "listen", r.cfg.ListenAddr, "app", r.cfg.AppURL,
		"order", r.cfg.Order, "replica", r.cfg.ReplicaName, "instance", r.instance)
	r.warnMissingSecrets()
	if err := tellManager("READY=1"); err != nil {
		r.log.Warn("Service manager can't be told", "err", err)
	}
	r.untilTold()
	return r.shutdown(stop)
}

// server is a listener that can be ended.
type server interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
}

// listen opens every listener before anything runs: a taken port is told at
// once.
func (r *Replica) listen() error {
	quiet := slog.NewLogLogger(r.log.Handler(), slog.LevelDebug)
	private := func(h http.Handler) *http.Server {
		return &http.Server{Handler: h, ErrorLog: quiet, ReadTimeout: r.cfg.HeaderTimeout, WriteTimeout: time.Minute}
	}
	r.public = r.publicServer()
	for _, listener := range []struct {
		name   string
		addr   string
		server server
	}{
		{"public listener", r.cfg.ListenAddr, r.public},
		{"probe listener", r.cfg.ProbeAddr, private(control.Probes(r, r.metrics.Registry))},
		{"control listener", r.cfg.ControlAddr, private(control.API(r, r.cfg.ControlToken.Reveal()))},
	} {
		l, err := r.opt.Listen("tcp", listener.addr)
		if err != nil {
			return fmt.Errorf("listen on %s: %w", listener.addr, err)
		}
		r.servers = append(r.servers, listener.server)
		r.loops.start(listener.name, func() {
			if err := listener.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				r.faults <- fmt.Errorf("serve %s: %w", listener.addr, err)
			}
		})
	}
	return nil
}

func (r *Replica) publicServer() *wire.Server {
	return wire.New(wire.Config{
		NetHTTP:       r.cfg.Wire == "net/http",
		HeaderTimeout: r.cfg.HeaderTimeout, BodyTimeout: r.cfg.BodyTimeout, BodyMinRate: r.cfg.BodyMinRate, IdleTimeout: r.cfg.IdleTimeout,
		MaxBodyBytes: r.cfg.MaxBodyBytes, MaxInflightBytes: r.cfg.MaxInflightBytes, MaxConnections: r.cfg.MaxConnections,
		Draining: func() bool { return r.gate.State() == lifecycle.Draining }, Metrics: r.metrics, Log: r.log,
	}, r.ingress)
}

// transition is one change of state, to be logged.
type transition struct {
	from, to lifecycle.State
	at       time.Time
	replayed int64
}

// changed is told of every transition, under the gate's lock, where nothing may
// wait: the lines are written by transitionLoop.
func (r *Replica) changed(from, to lifecycle.State) {
	r.metrics.State.WithLabelValues(from.String()).Set(0)
	r.metrics.State.WithLabelValues(to.String()).Set(1)
	r.metrics.Transitions.WithLabelValues(to.String()).Inc()
	n := r.replay.Delivered()
	if to == lifecycle.Replaying {
		r.replayed.Store(n)
	}
	select {
	case r.transitions <- transition{from, to, time.Now(), n - r.replayed.Load()}:
	default: // a log that is so far behind misses a line rather than a webhook
	}
	loop.Poke(r.beatNow)
	r.replay.Kick()
}

// transitionLoop logs the transitions, with their own time.
func (r *Replica) transitionLoop(ctx context.Context) {
	for {
		select {
		case t := <-r.transitions:
			r.logTransition(t)
		case <-ctx.Done():
			for len(r.transitions) > 0 {
				r.logTransition(<-r.transitions)
			}
			return
		}
	}
}

func (r *Replica) logTransition(t transition) {
	r.log.Info("State changed", "from", t.from.String(), "state", t.to.String(), "at", t.at)
	if t.from == lifecycle.Replaying && t.to == lifecycle.Passing {
		r.log.Info("Startup webhook queue replay complete", "queuedWebhooksProcessed", t.replayed, "state", t.to.String())
	}
}
