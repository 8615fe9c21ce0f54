package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"sluice/sidecar/internal/config"
	"sluice/sidecar/internal/entrypoint"
	"sluice/sidecar/internal/supervise"
	"sluice/sidecar/settings"
)

func runCmd() *cobra.Command {
	return &cobra.Command{
		Use: "run -- COMMAND [ARG...]", Short: "Run the proxy and the app in one container: serve and exec in one process",
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			signals := make(chan os.Signal, 4) // before anything else, as in serve
			signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
			tuneMemory()
			cfg, err := config.LoadAlone()
			if err != nil {
				return badConfiguration(err)
			}
			return runBoth(cfg, args, signals)
		},
	}
}

// runBoth runs the sidecar and the app until both have ended. The app is told to
// stop only once every webhook is held. The error carries the sidecar's exit code
// or, when that is 0, the app's.
func runBoth(cfg *config.Config, command []string, signals chan os.Signal) error {
	log := settings.NewLogger(os.Stderr, cfg.LogLevel, cfg.LogFormat)
	stops := make(chan os.Signal, 1)
	stop := func() { // may be called again
		select {
		case stops <- syscall.SIGTERM:
		default: // it has been told
		}
	}
	r, err := supervise.New(cfg, supervise.Options{Version: version, Log: log, Terminate: signals, Holding: stop})
	if err != nil {
		return badConfiguration(err)
	}
	type end struct {
		code int
		err  error
	}
	app := make(chan end, 1)
	go func() { // ends before runBoth does
		code, err := entrypoint.Run(context.Background(), entrypoint.Options{
			Command: command, Env: appEnv(cfg), Logger: log, Grace: cfg.Grace(), Stops: stops,
		})
		if err != nil { // it can't be started, so neither shall the sidecar serve
			select {
			case signals <- syscall.SIGTERM:
			default:
			}
		}
		app <- end{code, err}
	}()
	code := r.Run()
	stop() // when it has ended without holding, such as for a port that is taken
	ended := <-app
	if ended.err != nil {
		fmt.Fprintf(os.Stderr, "sidecar: %v\n", ended.err)
	}
	if code == 0 || ended.err != nil {
		code = ended.code
	}
	if code != 0 {
		return exit(code)
	}
	return nil
}

// appEnv is this process's environment with the app's own PORT: the platform's is
// the sidecar's.
func appEnv(cfg *config.Config) []string {
	env := []string{fmt.Sprint("PORT=", cfg.AppPort())}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PORT=") {
			env = append(env, v)
		}
	}
	return env
}
