package bench

import (
	"context"
	"fmt"
	"slices"

	"sluice/infra/bench/load"
	"sluice/infra/rehearsal"
)

// rolled measures how long a held webhook waits in a deploy that replaces three
// replicas one after the other, so that another one always passes.
type rolled struct{ config rehearsal.Config }

const (
	sectionRolled = "Webhooks held in a rolled deploy, acknowledged to taken by an app"
	rolledRow     = "three replicas"
)

func (s *stage) newRolled(ctx context.Context) (*rolled, error) {
	c := rehearsal.Defaults()
	var err error
	c.Programs, err = rehearsal.Build(ctx, s.dir, rehearsal.Programs{Sidecar: s.config.Sidecar, App: s.config.App})
	c.Scenario, c.Dir, c.DatabaseURL = rehearsal.Rolled, s.dir, s.database
	c.Duration = s.config.Deploy
	c.Progress = s.config.Progress
	return &rolled{c}, err
}

func (d *rolled) round(ctx context.Context, number int, r *Report) error {
	got, err := rehearsal.Run(ctx, d.config)
	if err != nil {
		return err
	}
	if !got.Good() {
		return fmt.Errorf("the rehearsal found faults: %v", got.Faults)
	}
	all := slices.Clone(got.Latencies.HeldToTaken)
	if len(all) == 0 {
		return fmt.Errorf("no webhook was held in the deploy")
	}
	slices.Sort(all)
	result := load.Result{Latency: all}
	r.add(sectionRolled, rolledRow, number, Figures{P50: micros(result.Percentile(0.5)), P99: micros(result.Percentile(0.99))})
	return nil
}
