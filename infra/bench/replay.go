package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"sluice/infra/bench/load"
	"sluice/infra/bench/process"
	"sluice/infra/bench/standin"
)

// replay compares the sidecar, which replays held webhooks to an app, with a
// sender that posts to the same app directly. The app is started again for each
// turn, so that no turn finds the work of another.
type replay struct {
	stage    *stage
	config   Config
	requests []load.Request
	sidecar  *sidecar
	addr     string // the app's
	apps     []app
}

// app is an app to replay to.
type app struct {
	name string
	// start runs it. received returns how many webhooks the app has taken and in
	// what time, as the app itself reports.
	start func(ctx context.Context) (proc *process.Process, received func(context.Context) (int, time.Duration, error), err error)
}

const (
	sectionReplay = "Held webhooks replayed"
	replayed      = ": replay"
	direct        = ": posted directly"
	replayLimit   = 2 * time.Minute
	receivedPoll  = 100 * time.Millisecond // the app's own times decide when a turn ended
)

func (s *stage) newReplay(ctx context.Context) (*replay, error) {
	p := &replay{stage: s, config: s.config, requests: load.GitHub(s.config.Repositories, s.config.Bytes)}
	var err error
	if p.addr, err = freeAddr(); err != nil {
		return nil, err
	}
	p.apps = []app{{"stand-in app", p.startStandIn}, {"app", p.startApp}}
	p.sidecar, err = s.startSidecar(ctx, p.addr, "GITHUB_WEBHOOK_SECRET="+load.Secret, "SLUICE_SECRET="+sluiceSecret)
	return p, err
}

func (p *replay) round(ctx context.Context, number int, r *Report) error {
	for _, a := range p.apps {
		err := inTurn(number,
			func() error { return p.replayed(ctx, a, number, r) },
			func() error { return p.direct(ctx, a, number, r) })
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
	}
	return nil
}

// replayed has webhooks held, starts the app and waits until the app has them all.
func (p *replay) replayed(ctx context.Context, a app, number int, r *Report) error {
	if err := await(ctx, p.sidecar.Process, "http://"+p.sidecar.addr+"/healthz", `"app":"un`); err != nil {
		return err
	}
	if _, err := load.Post(ctx, load.Spec{Count: p.config.Held},
		load.Target{Addr: p.sidecar.addr, Connections: p.config.HoldConnections, Requests: p.requests}); err != nil {
		return err
	}
	proc, received, err := a.start(ctx)
	if err != nil {
		return err
	}
	// The start of the app is not part of a replay; the sidecar notices it later.
	if err := await(ctx, proc, "http://"+p.addr+"/healthz", ""); err != nil {
		return err
	}
	before, err := load.Read(p.meters())
	if err != nil {
		return err
	}
	took, err := p.awaitAll(ctx, received)
	if err != nil {
		return err
	}
	after, err := load.Read(p.meters())
	if err != nil {
		return err
	}
	r.add(sectionReplay, a.name+replayed, number, Figures{
		Rate:        float64(p.config.Held) / took.Seconds(),
		DatabaseCPU: each(after[0]-before[0], p.config.Held),
		CPU:         each(after[1]-before[1], p.config.Held),
	})
	return proc.Kill()
}

func (p *replay) meters() []load.Meter { return []load.Meter{p.stage.databaseCPU, p.sidecar.CPU} }

// direct posts to the app, started anew.
func (p *replay) direct(ctx context.Context, a app, number int, r *Report) error {
	proc, _, err := a.start(ctx)
	if err != nil {
		return err
	}
	if err := await(ctx, proc, "http://"+p.addr+"/healthz", ""); err != nil {
		return err
	}
	got, err := load.Post(ctx, load.Spec{Warm: warm, Measure: p.config.Turn, Meters: []load.Meter{p.stage.databaseCPU}},
		load.Target{Addr: p.addr, Connections: p.config.ReplayConnections, Requests: p.requests})
	if err != nil {
		return err
	}
	f := figures(got)
	f.DatabaseCPU = each(got.Used[0], got.Answered)
	r.add(sectionReplay, a.name+direct, number, f)
	return proc.Kill()
}

// awaitAll waits until the app has all the webhooks, and returns the time from
// the first to the last one.
func (p *replay) awaitAll(ctx context.Context, received func(context.Context) (int, time.Duration, error)) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, replayLimit)
	defer cancel()
	tick := time.NewTicker(receivedPoll)
	defer tick.Stop()
	for {
		n, took, err := received(ctx)
		if err == nil && n >= p.config.Held {
			if n > p.config.Held {
				return 0, fmt.Errorf("%d webhooks held and %d delivered", p.config.Held, n)
			}
			return took, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("replay: %d of %d webhooks delivered: %w", n, p.config.Held, errors.Join(ctx.Err(), err))
		}
	}
}

func (p *replay) startStandIn(context.Context) (*process.Process, func(context.Context) (int, time.Duration, error), error) {
	proc, err := p.stage.start(p.config.Self, p.config.StandInApp(p.addr), nil)
	return proc, func(ctx context.Context) (int, time.Duration, error) {
		text, err := get(ctx, "http://"+p.addr+standin.StatsPath)
		if err != nil {
			return 0, 0, err
		}
		var stats standin.Stats
		if err := json.Unmarshal([]byte(text), &stats); err != nil {
			return 0, 0, fmt.Errorf("read statistics: %w", err)
		}
		return int(stats.Webhooks), time.Duration(stats.Last - stats.First), nil
	}, err
}

const sluiceSecret = "bench-sluice"

// startApp runs the bundled app with an empty database, so that no job of an
// earlier turn is left.
func (p *replay) startApp(ctx context.Context) (*process.Process, func(context.Context) (int, time.Duration, error), error) {
	url, err := p.stage.freshDatabase(ctx)
	if err != nil {
		return nil, nil, err
	}
	_, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		return nil, nil, fmt.Errorf("split address: %w", err)
	}
	conn, err := p.stage.connect(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	proc, err := p.stage.start(p.config.App, []string{"serve"}, []string{
		"DATABASE_URL=" + url, "PORT=" + port, "LISTEN_HOST=127.0.0.1", "LOG_FORMAT=json",
		"GITHUB_WEBHOOK_SECRET=" + load.Secret, "SLUICE_SECRET=" + sluiceSecret,
		// Every webhook is stored with its job. Running the jobs is not part of the
		// comparison, and would favour the faster turn, which ends before most of
		// its jobs have run.
		"MAX_WORKERS=1",
	})
	return proc, func(ctx context.Context) (n int, took time.Duration, err error) {
		var seconds float64
		if err := conn.QueryRow(ctx, `SELECT count(*), coalesce(extract(epoch FROM max(stored_at) - min(stored_at)), 0)::float8
FROM app_webhooks`).Scan(&n, &seconds); err != nil {
			return 0, 0, fmt.Errorf("count app's webhooks: %w", err)
		}
		return n, time.Duration(seconds * float64(time.Second)), nil
	}, err
}
