package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"sluice/infra/rehearsal"
	"sluice/infra/rehearsal/chaos"
	"sluice/infra/rehearsal/chaos/receiver"
)

// chaosRun is the command line of chaos.
type chaosRun struct {
	config chaos.Config
	old    string // a git reference
	output string
	brief  bool
}

func chaosCommand() *cobra.Command {
	in := &chaosRun{config: chaos.Defaults()}
	cmd := &cobra.Command{
		Use:   "chaos",
		Short: "Inject random faults for a while and report whether a webhook was lost",
		Long: "Kills and freezes processes and PostgreSQL, disturbs the wires between them, deploys and\n" +
			"scales, as a seed decides, while signed senders go on; then repairs everything, waits\n" +
			"until the queue is empty, and judges. It starts a PostgreSQL of its own.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%w: chaos takes no %q", errUsage, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return in.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c, f := &in.config, cmd.Flags()
	f.SortFlags = false
	f.DurationVar(&c.For, "for", c.For, "how long")
	f.Uint64Var(&c.Seed, "seed", 0, "of the plan (0: a fresh one, which is printed)")
	f.StringVar(&c.Order, "order", c.Order, "ORDER of the sidecars: lane or strict")
	f.StringVar(&in.old, "old", "", "a git reference: some deploys bring the sidecar of that commit")
	f.DurationVar(&c.Every, "every", c.Every, "mean pause between two faults")
	f.IntVar(&c.Rate, "rate", c.Rate, "webhooks per second")
	f.IntVar(&c.Lanes, "lanes", c.Lanes, "lanes for each of the two sources")
	f.IntVar(&c.PerLane, "senders", c.PerLane, "sequential senders for each lane")
	f.IntVar(&c.Bytes, "bytes", c.Bytes, "size of an ordinary body")
	f.DurationVar(&c.SettleLimit, "settle", c.SettleLimit, "how long to wait at the end without progress")
	f.BoolVar(&in.brief, "brief", false, "a single line for a good run")
	f.StringVar(&in.output, "output", "text", "text or json")
	f.StringVar(&c.Sidecar, "sidecar", "", "the sidecar's binary (built from the workspace)")
	f.StringVar(&c.Dir, "dir", "", "where runs keep logs (a temporary directory; kept when a run fails)")
	f.BoolVar(&c.KeepLogs, "keep", false, "keep the logs of good runs too")
	return cmd
}

func (in *chaosRun) run(ctx context.Context, out, progress io.Writer) error {
	if in.output != "text" && in.output != "json" {
		return fmt.Errorf("%w: output %q must be text or json", errUsage, in.output)
	}
	show := newTicker(progress)
	c := &in.config
	c.Progress = show.line
	for c.Seed == 0 {
		c.Seed = rand.Uint64() >> 32 // short enough to be typed
	}
	show.say(fmt.Sprintf("chaos: seed %d", c.Seed))
	var err error
	if c.Dir, err = logDirectory(c.Dir); err != nil {
		return err
	}
	defer os.Remove(c.Dir) // fails unless it is empty
	programs, err := os.MkdirTemp("", "sluice-programs-")
	if err != nil {
		return fmt.Errorf("make directory for programs: %w", err)
	}
	defer os.RemoveAll(programs)
	if err := in.programs(ctx, programs, show); err != nil {
		return err
	}
	r, err := chaos.Run(ctx, *c)
	show.clear()
	if err != nil {
		return err
	}
	return in.report(out, r, show)
}

// programs builds what is not given. This program itself is the app.
func (in *chaosRun) programs(ctx context.Context, dir string, show *ticker) error {
	c := &in.config
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	c.Receiver = []string{self, receiverCommandName}
	if c.Sidecar == "" {
		show.say("building the sidecar")
		c.Sidecar = filepath.Join(dir, "sidecar")
		if err := rehearsal.BuildSidecar(ctx, c.Sidecar); err != nil {
			return err
		}
	}
	if in.old == "" {
		return nil
	}
	show.say("building the sidecar of " + in.old)
	c.Old = filepath.Join(dir, "sidecar-old")
	return rehearsal.BuildOldSidecar(ctx, in.old, dir, c.Old)
}

func (in *chaosRun) report(out io.Writer, r *chaos.Report, show *ticker) error {
	var err error
	switch {
	case in.output == "json":
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(r)
	case in.brief && r.Good():
		_, err = fmt.Fprintln(out, chaos.Summary(r))
	default:
		err = chaos.Text(out, r)
	}
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if !r.Good() {
		show.say("logs are in " + r.Logs)
		return errBad
	}
	return nil
}

const receiverCommandName = "chaos-receiver"

// receiverCommand is the app of a chaos run, which starts it.
func receiverCommand() *cobra.Command {
	return &cobra.Command{
		Use: receiverCommandName, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM)
			defer stop()
			return receiver.Serve(ctx, receiver.Options{
				Addr: os.Getenv(chaos.AddrVar), File: os.Getenv(chaos.RecordsVar), Name: os.Getenv(chaos.ReplicaVar),
			})
		},
	}
}
