package bench

import (
	"context"
	"fmt"

	"sluice/infra/bench/load"
	"sluice/infra/bench/process"
)

// pass compares proxies in front of one app.
type pass struct {
	config     Config
	requests   []load.Request
	contenders []contender
}

// contender is a program that takes webhooks.
type contender struct {
	name string
	addr string
	proc *process.Process // whose CPU time counts
}

const (
	sectionPass  = "Webhooks passed to the app"
	reverseProxy = "httputil.ReverseProxy"
)

func (s *stage) newPass(ctx context.Context) (*pass, error) {
	p := &pass{config: s.config, requests: load.GitHub(s.config.Repositories, s.config.Bytes)}
	app, err := freeAddr()
	if err != nil {
		return nil, err
	}
	proc, err := s.start(s.config.Self, s.config.StandInApp(app), nil)
	if err != nil {
		return nil, err
	}
	if err := await(ctx, proc, "http://"+app+"/healthz", ""); err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	proxy, err := s.start(s.config.Self, s.config.StandInProxy(addr, app), nil)
	if err != nil {
		return nil, err
	}
	p.contenders = append(p.contenders, contender{"no proxy", app, proc}, contender{reverseProxy, addr, proxy})
	for _, one := range []struct{ name, env string }{
		{"sidecar, verifying", "GITHUB_WEBHOOK_SECRET=" + load.Secret},
		{"sidecar, no secret", "ALLOW_UNVERIFIED=true"},
	} {
		sc, err := s.startSidecar(ctx, app, one.env)
		if err != nil {
			return nil, err
		}
		if err := await(ctx, sc.Process, "http://"+sc.addr+"/healthz", `"passing"`); err != nil {
			return nil, err
		}
		p.contenders = append(p.contenders, contender{one.name, sc.addr, sc.Process})
	}
	installed, err := s.startInstalled(app)
	if err != nil {
		return nil, err
	}
	for _, c := range append(installed, p.contenders[1]) {
		if err := await(ctx, c.proc, "http://"+c.addr+"/healthz", ""); err != nil {
			return nil, err
		}
	}
	p.contenders = append(p.contenders, installed...)
	return p, nil
}

func (p *pass) round(ctx context.Context, number int, r *Report) error {
	for i := range p.contenders {
		// Each round starts with another one, so that none always has the same place.
		c := p.contenders[(i+number)%len(p.contenders)]
		got, err := load.Post(ctx,
			load.Spec{Warm: warm, Measure: p.config.Turn, Meters: []load.Meter{c.proc.CPU}},
			load.Target{Addr: c.addr, Connections: p.config.PassConnections, Requests: p.requests})
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		f := figures(got)
		f.CPU = each(got.Used[0], got.Answered)
		r.add(sectionPass, c.name, number, f)
	}
	return nil
}
