package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"

	"sluice/infra/postgres"
	"sluice/infra/rehearsal"
	"sluice/infra/rehearsal/report"
)

// run plays every scenario as often as asked and reports.
func (in *invocation) run(ctx context.Context, out, progress io.Writer) (err error) {
	if in.output != "text" && in.output != "json" {
		return fmt.Errorf("%w: output %q must be text or json", errUsage, in.output)
	}
	show := newTicker(progress)
	c := &in.config
	c.Progress = show.line
	if c.Dir, err = logDirectory(c.Dir); err != nil {
		return err
	}
	// This fails unless the directory is empty: the logs of a failed run stay.
	defer os.Remove(c.Dir)
	programs, err := os.MkdirTemp("", "sluice-programs-")
	if err != nil {
		return fmt.Errorf("make directory for programs: %w", err)
	}
	defer os.RemoveAll(programs)
	if c.Programs.Sidecar == "" || c.Programs.App == "" || c.Programs.Recorder == "" {
		show.say("building sidecar, app and recorder")
	}
	if c.Programs, err = rehearsal.Build(ctx, programs, c.Programs); err != nil {
		return err
	}
	defer in.stopServer(&err)
	reports, err := in.play(ctx, out, show)
	if err != nil {
		return err
	}
	if err := in.write(out, reports); err != nil {
		return err
	}
	for _, r := range reports {
		if !r.Good() {
			show.say("logs of failed runs are in " + c.Dir)
			return errBad
		}
	}
	return nil
}

// logDirectory makes the directory for logs, a temporary one without a name.
func logDirectory(name string) (string, error) {
	if name == "" {
		dir, err := os.MkdirTemp("", "sluice-rehearsal-")
		if err != nil {
			return "", fmt.Errorf("make directory for logs: %w", err)
		}
		return dir, nil
	}
	if err := os.MkdirAll(name, 0o755); err != nil {
		return "", fmt.Errorf("make directory for logs: %w", err)
	}
	return name, nil
}

func (in *invocation) play(ctx context.Context, out io.Writer, show *ticker) ([]*report.Report, error) {
	var reports []*report.Report
	for _, scenario := range in.scenarios {
		for n := 1; n <= in.times; n++ {
			c, err := in.withServer(ctx, scenario, show)
			if err != nil {
				return nil, err
			}
			r, err := in.playOnce(ctx, c)
			show.clear()
			if err != nil {
				return nil, err
			}
			reports = append(reports, r)
			if in.output == "json" {
				continue
			}
			if (in.brief || in.times > 1) && r.Good() {
				fmt.Fprintf(out, "%3d  %s\n", n, report.Summary(r))
			} else if err := report.Text(out, r); err != nil {
				return nil, err
			}
		}
	}
	if in.compare && in.output != "json" {
		fmt.Fprintln(out)
		if err := report.Compare(out, reports); err != nil {
			return nil, err
		}
	}
	return reports, nil
}

// playOnce plays a scenario and, to compare, the same traffic without a sidecar
// before it.
func (in *invocation) playOnce(ctx context.Context, c rehearsal.Config) (*report.Report, error) {
	if !in.compare {
		return rehearsal.Run(ctx, c)
	}
	for c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	bare := c
	bare.Home = rehearsal.Bare
	without, err := rehearsal.Run(ctx, bare)
	if err != nil {
		return nil, err
	}
	r, err := rehearsal.Run(ctx, c)
	if err != nil {
		return nil, err
	}
	r.Bare = without
	return r, nil
}

// withServer returns the configuration of a scenario with the server it is to
// use: the one of DATABASE_URL, else a throwaway one, which is started once.
// db-away stops its server, so it always gets a throwaway one.
func (in *invocation) withServer(ctx context.Context, scenario string, show *ticker) (rehearsal.Config, error) {
	c := in.config
	c.Scenario = scenario
	if given := os.Getenv("DATABASE_URL"); given != "" && scenario != "db-away" {
		c.DatabaseURL = given
		return c, nil
	}
	if in.server == nil {
		show.say("starting PostgreSQL")
		server, err := postgres.Start(ctx, postgres.Options{Progress: show.out})
		if err != nil {
			return c, err
		}
		in.server = server
	}
	c.Server, c.DatabaseURL = in.server, in.server.URL
	return c, nil
}

func (in *invocation) stopServer(err *error) {
	if in.server != nil {
		*err = errors.Join(*err, in.server.Close())
	}
}

// write writes the JSON and the page after all runs.
func (in *invocation) write(out io.Writer, reports []*report.Report) error {
	if in.output == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(reports); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	if in.html == "" {
		return nil
	}
	var page strings.Builder
	if err := report.HTML(&page, reports); err != nil {
		return fmt.Errorf("make page: %w", err)
	}
	if err := os.WriteFile(in.html, []byte(page.String()), 0o644); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}
