// Package cli is the app's command line: it reads the configuration, makes the
// logger and calls the package that does the work. It must have no other logic.
// main calls it.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"

	"sluice/app/internal/config"
	"sluice/app/internal/service"
	"sluice/sidecar/settings"
)

// Exit codes: 0 done, 1 failed or work abandoned, 2 wrong usage or
// configuration.
const (
	exitFailed = 1
	exitUsage  = 2
)

// failed marks an error that has another cause than the command line or the
// configuration.
type failed struct{ error }

func (f failed) Unwrap() error { return f.error }

// Run runs the command line and returns the exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	code := 0
	root := &cobra.Command{
		Use:           "app",
		Short:         "Runs jobs for webhooks",
		Args:          cobra.NoArgs,
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), stderr, &code) },
	}
	root.AddCommand(
		&cobra.Command{
			Use: "serve", Short: "Receive webhooks and run their jobs (the default)", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), stderr, &code) },
		},
		&cobra.Command{
			Use: "version", Short: "Print the version", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				_, err := fmt.Fprintln(stdout, version())
				return err
			},
		},
	)
	root.AddCommand(hooksCommand(stdout), jobsCommand(stdout), configCommand(stdout))
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		report(stderr, err)
		var f failed
		if errors.As(err, &f) {
			return exitFailed
		}
		return exitUsage
	}
	return code
}

func serve(ctx context.Context, stderr io.Writer, code *int) error {
	c, err := config.Load()
	if err != nil {
		return err
	}
	s, err := service.New(c, settings.NewLogger(stderr, c.LogLevel, c.LogFormat))
	if err != nil {
		return err
	}
	if *code, err = s.Run(ctx); err != nil {
		_, _ = fmt.Fprintln(stderr, "app:", err)
		*code = exitFailed
	}
	return nil
}

// report prints every problem on a line of its own.
func report(w io.Writer, err error) {
	var problems settings.Problems
	if errors.As(err, &problems) {
		_, _ = fmt.Fprintln(w, "app: bad configuration:")
		for _, p := range problems {
			_, _ = fmt.Fprintln(w, "  -", p)
		}
		return
	}
	_, _ = fmt.Fprintln(w, "app:", err)
}

// Version is set by the linker in releases.
var Version = ""

func version() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
