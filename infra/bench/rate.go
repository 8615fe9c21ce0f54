package bench

import (
	"context"
	"fmt"

	"sluice/infra/bench/load"
)

// fixedRate compares the proxies of pass at a fixed rate that all can take. A latency
// counts from the moment at which a webhook was due.
type fixedRate struct{ pass }

const sectionRate = "Webhooks passed at a fixed rate, latencies from when each was due"

func (s *stage) newRate(ctx context.Context) (*fixedRate, error) {
	p, err := s.newPass(ctx)
	if err != nil {
		return nil, err
	}
	return &fixedRate{*p}, nil
}

func (p *fixedRate) round(ctx context.Context, number int, r *Report) error {
	for i := range p.contenders {
		c := p.contenders[(i+number)%len(p.contenders)]
		got, err := load.Post(ctx,
			load.Spec{Warm: warm, Measure: p.config.Turn, Rate: p.config.Rate, Meters: []load.Meter{c.proc.CPU}},
			load.Target{Addr: c.addr, Connections: p.config.PassConnections, Requests: p.requests})
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		f := figures(got)
		f.CPU = each(got.Used[0], got.Answered)
		r.add(sectionRate, c.name, number, f)
	}
	return nil
}
