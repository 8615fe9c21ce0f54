// Command bench compares sidecar and app with other proxies, with plain INSERTs
// and with posting directly. See package sluice/infra/bench.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"sluice/infra/bench"
	"sluice/infra/bench/standin"
)

var errUsage = errors.New("wrong usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	c := bench.Defaults()
	var output string
	var quick bool
	cmd := &cobra.Command{
		Use:   "bench [" + strings.Join(bench.Sections(), "|") + "]...",
		Short: "Compare sidecar and app with other proxies, INSERTs and direct posts",
		Long: "Measures how webhooks are passed (compared with other proxies), held (compared with single\n" +
			"INSERTs) and replayed (compared with posting to the app); everything when none is named.\n\n" +
			"Environment: DATABASE_URL names a server to use; without it a throwaway one is started.",
		ValidArgs:     bench.Sections(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.OnlyValidArgs(cmd, args); err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if quick {
				c.Quick()
			}
			c.Sections = args
			return run(cmd, c, output)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	cmd.CompletionOptions.DisableDefaultCmd = true
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&c.Rounds, "rounds", c.Rounds, "how often each contender has its turn")
	f.DurationVar(&c.Turn, "turn", c.Turn, "how long a turn counts")
	f.IntVar(&c.Held, "held", c.Held, "webhooks held for a replay")
	f.IntVar(&c.Bytes, "bytes", c.Bytes, "size of a body")
	f.IntVar(&c.Repositories, "repositories", c.Repositories, "that webhooks come from, each a lane")
	f.BoolVar(&quick, "quick", false, "everything in some two minutes, to find large changes only")
	f.StringVar(&c.Profile, "profile", "", "directory for CPU profiles of the sidecars (built for that)")
	f.IntVar(&c.Rate, "rate", c.Rate, "webhooks a second at the fixed rate")
	f.IntVar(&c.Rows, "rows", c.Rows, "of the long backlog")
	f.IntVar(&c.Lanes, "lanes", c.Lanes, "that the long backlog lies in")
	f.BoolVar(&c.Fresh, "fresh", false, "hold into tables that never had a row, rather than into ones in service")
	f.StringVar(&output, "output", "text", "text or json")
	f.StringVar(&c.Sidecar, "sidecar", "", "the sidecar's binary (built from the workspace)")
	f.StringVar(&c.App, "app", "", "the app's binary (built from the workspace)")
	cmd.AddCommand(standInApp(), standInProxy())
	return cmd
}

func run(cmd *cobra.Command, c bench.Config, output string) (err error) {
	if output != "text" && output != "json" {
		return fmt.Errorf("%w: output %q must be text or json", errUsage, output)
	}
	c.DatabaseURL = os.Getenv("DATABASE_URL")
	c.Progress = func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) }
	if c.Self, err = os.Executable(); err != nil {
		return fmt.Errorf("find own binary: %w", err)
	}
	c.StandInApp = func(addr string) []string { return []string{appVerb, addr} }
	c.StandInProxy = func(addr, upstream string) []string { return []string{proxyVerb, addr, upstream} }
	report, err := bench.Run(cmd.Context(), c)
	if err != nil {
		return err
	}
	if output == "text" {
		return bench.Text(cmd.OutOrStdout(), report)
	}
	encoder := json.NewEncoder(cmd.OutOrStdout())
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(report); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

const (
	appVerb   = "stand-in-app"
	proxyVerb = "stand-in-proxy"
)

func standInApp() *cobra.Command {
	return &cobra.Command{
		Use: appVerb + " ADDR", Short: "Be the app that webhooks are passed to", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return standin.App(cmd.Context(), args[0]) },
	}
}

func standInProxy() *cobra.Command {
	return &cobra.Command{
		Use: proxyVerb + " ADDR UPSTREAM", Short: "Be a proxy made of httputil.ReverseProxy", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return standin.ReverseProxy(cmd.Context(), args[0], args[1])
		},
	}
}
