package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sluice/infra/postgres"
	"sluice/infra/rehearsal"
)

var (
	errBad   = errors.New("a run was not good")
	errUsage = errors.New("wrong usage")
)

// invocation is the command line.
type invocation struct {
	config    rehearsal.Config
	scenarios []string
	times     int
	html      string
	output    string
	noRetry   bool
	compare   bool
	brief     bool
	server    *postgres.Server // ours, once one was needed
}

func command() *cobra.Command {
	in := &invocation{config: rehearsal.Defaults()}
	cmd := &cobra.Command{
		Use:   "rehearsal SCENARIO... | all",
		Short: "Rehearse deploys, crashes and drains with real processes",
		Long: "Plays scenarios with real processes, a real PostgreSQL and signed webhooks, and says\n" +
			"what was sent, acknowledged, lost, duplicated and out of order.\n\n" +
			"Scenarios: " + strings.Join(rehearsal.Scenarios(), ", ") + ".\n\n" +
			"Environment: DATABASE_URL names a server to use; without it, and always\n" +
			"for db-away, a throwaway one is started.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("%w: name a scenario, one of %s, or all", errUsage, strings.Join(rehearsal.Scenarios(), ", "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			in.scenarios = args
			if slices.Contains(args, "all") {
				in.scenarios = rehearsal.Scenarios()
			}
			in.config.Retry = !in.noRetry
			return in.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	in.addFlags(cmd)
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.AddCommand(chaosCommand(), receiverCommand())
	return cmd
}

func (in *invocation) addFlags(cmd *cobra.Command) {
	c, f := &in.config, cmd.Flags()
	f.SortFlags = false
	f.IntVar(&c.Rate, "rate", c.Rate, "webhooks per second")
	f.DurationVar(&c.Duration, "duration", c.Duration, "how long webhooks are sent")
	f.IntVar(&c.Senders, "senders", c.Senders, "sequential senders for each lane")
	f.IntVar(&c.Lanes, "lanes", c.Lanes, "lanes for each of the three sources")
	f.IntVar(&c.Bytes, "bytes", c.Bytes, "size of a body")
	f.BoolVar(&in.noRetry, "no-retry", false, "no sender repeats a refused webhook (GitHub never does)")
	f.StringVar(&c.Order, "order", c.Order, "ORDER of the sidecars: lane, strict or none")
	f.StringVar(&c.Home, "home", c.Home, "deploy: whose platform it is: "+strings.Join(rehearsal.Homes(), ", "))
	f.StringVar(&c.Replace, "replace", "", "deploy: replace the app or the sidecar alone (the whole replica)")
	f.StringVar(&c.Signal.First, "first", "", "which container gets SIGTERM first: app or sidecar (both at once)")
	f.DurationVar(&c.Signal.Lead, "lead", c.Signal.Lead, "how much earlier the first one gets it")
	f.DurationVar(&c.Grace, "grace", c.Grace, "from SIGTERM to SIGKILL")
	f.DurationVar(&c.DrainWindow, "drain-window", c.DrainWindow, "SHUTDOWN_GRACE_MS of the app")
	f.DurationVar(&c.Linger, "linger", c.Linger, "how long the balancer routes to a replica after its SIGTERM")
	f.DurationVar(&c.Overlap, "overlap", c.Overlap, "deploy: how long both revisions take traffic first")
	f.DurationVar(&c.Backoff, "backoff", c.Backoff, "before a crashed container starts again")
	f.DurationVar(&c.BootDelay, "boot-delay", c.BootDelay, "slow-boot: how late the app starts")
	f.DurationVar(&c.Work, "work", c.Work, "long-drain: how long its jobs take")
	f.DurationVar(&c.Away, "away", c.Away, "db-away: how long PostgreSQL is gone")
	f.DurationVar(&c.ProbeEvery, "probe-every", c.ProbeEvery, "how often the balancer looks at readiness")
	f.IntVar(&c.BalancerRetries, "ingress-retries", c.BalancerRetries, "how often the balancer repeats a failed request itself")
	f.IntVar(&c.Workers, "workers", c.Workers, "MAX_WORKERS of the app")
	f.DurationVar(&c.SettleLimit, "settle", c.SettleLimit, "how long to wait at the end without progress")
	f.StringArrayVar(&c.Env, "env", nil, "NAME=value for both containers, may be repeated")
	f.BoolVar(&in.compare, "compare", false, "play the same traffic without a sidecar first, and show both")
	f.Uint64Var(&c.Seed, "seed", 0, "of the webhooks' ids (fresh ones); the sidecar's own times are not measured then")
	f.IntVar(&in.times, "times", 1, "how often each scenario is played")
	f.BoolVar(&in.brief, "brief", false, "a single line for a good run (always so with --times)")
	f.StringVar(&in.html, "html", "", "write the reports as a page to this file")
	f.StringVar(&in.output, "output", "text", "text or json")
	f.StringVar(&c.Programs.Sidecar, "sidecar", "", "the sidecar's binary (built from the workspace)")
	f.StringVar(&c.Programs.App, "app", "", "the app's binary (built from the workspace)")
	f.StringVar(&c.Programs.Recorder, "recorder", "", "the recorder's binary (built from the workspace)")
	f.StringVar(&c.Dir, "dir", "", "where runs keep logs (a temporary directory; kept when a run fails)")
	f.BoolVar(&c.KeepLogs, "keep", false, "keep the logs of good runs too")
}
