// Command rehearsal plays deploys, crashes and drains on this machine and reports
// whether a webhook was lost. See package sluice/infra/rehearsal.
//
// It exits 0 when every run was good, 1 when something was lost, out of order
// or otherwise went wrong, 2 when it was called wrongly.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, errBad):
		os.Exit(1)
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "rehearsal:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "rehearsal:", err)
		os.Exit(1)
	}
}
