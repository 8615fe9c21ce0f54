package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/config"
	"sluice/sidecar/internal/entrypoint"
	"sluice/sidecar/internal/supervise"
	"sluice/sidecar/settings"
)

// memoryLimit is the memory that the runtime tries to stay below, unless GOMEMLIMIT
// is set. It allows for twice the bodies in flight (64 MiB) and in replay's memory,
// since some are copied, and it fits the smallest container.
const memoryLimit = 192 << 20

// gcPercent lets the heap grow before it is collected. The heap is small and has the
// limit above, so collecting it at each doubling would only cost time.
const gcPercent = 400

func tuneMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

func serveCmd() *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "Run the proxy until SIGTERM", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			// Before anything else: a SIGTERM at any moment must drain, not kill.
			signals := make(chan os.Signal, 4)
			signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
			tuneMemory()
			cfg, err := config.Load()
			if err != nil {
				return badConfiguration(err)
			}
			log := settings.NewLogger(os.Stderr, cfg.LogLevel, cfg.LogFormat)
			r, err := supervise.New(cfg, supervise.Options{Version: version, Log: log, Terminate: signals})
			if err != nil {
				return badConfiguration(err)
			}
			if code := r.Run(); code != 0 {
				return exit(code)
			}
			return nil
		},
	}
}

func execCmd() *cobra.Command {
	return &cobra.Command{
		Use: "exec -- COMMAND [ARG...]", Short: "Run the app as a container's first process and restart it when it crashes",
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, err := config.LoadExec()
			if err != nil {
				return badConfiguration(err)
			}
			log := settings.NewLogger(os.Stderr, cfg.LogLevel, cfg.LogFormat)
			code, err := entrypoint.Run(context.Background(), entrypoint.Options{Command: args, Logger: log, Grace: cfg.Grace()})
			if err != nil {
				fmt.Fprintf(os.Stderr, "sidecar: %v\n", err)
			}
			if code != 0 {
				return exit(code)
			}
			return nil
		},
	}
}

func migrateCmd() *cobra.Command {
	var limit time.Duration
	c := &cobra.Command{
		Use: "migrate", Short: "Bring the database's tables up to date", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load()
			if err != nil {
				return badConfiguration(err)
			}
			log := settings.NewLogger(os.Stderr, cfg.LogLevel, cfg.LogFormat)
			password, err := cfg.DatabasePassword()
			if err != nil {
				return badConfiguration(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			store, err := buffer.Open(ctx, buffer.Config{
				URL: cfg.DatabaseURL.Reveal(), Instance: uuid.NewString(), Password: password, Log: log,
			})
			if err != nil {
				return badConfiguration(err)
			}
			defer store.Close()
			return migrate(ctx, c, store)
		},
	}
	c.Flags().DurationVar(&limit, "timeout", time.Minute, "give up after this time")
	return c
}

func migrate(ctx context.Context, c *cobra.Command, store *buffer.Store) error {
	_, missing, err := store.Migrations(ctx)
	if err == nil {
		err = store.Migrate(ctx)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "sidecar: %v\n", err)
		return exit(exitFailed)
	}
	for _, name := range missing {
		fmt.Fprintf(c.OutOrStdout(), "applied %s\n", name)
	}
	if len(missing) == 0 {
		fmt.Fprintln(c.OutOrStdout(), "nothing to do, the tables are up to date")
	}
	return nil
}
