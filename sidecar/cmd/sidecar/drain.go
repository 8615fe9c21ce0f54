package main

import (
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sluice/sidecar/internal/config"
)

func drainCmd() *cobra.Command {
	var addr string
	var limit time.Duration
	c := &cobra.Command{
		Use: "drain", Short: "Hold every webhook from now on, and tell the app to drain: for a preStop hook, before SIGTERM comes",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := ask(http.MethodPost, "http://"+dialable(addr)+"/v1/drain", limit); err != nil {
				fmt.Fprintf(os.Stderr, "sidecar: drain at %s: %v; is it running, and is CONTROL_TOKEN the same here?\n", addr, err)
				return exit(exitFailed)
			}
			fmt.Fprintln(c.OutOrStdout(), "every webhook is held from now on; the sidecar ends at SIGTERM")
			return nil
		},
	}
	c.Flags().StringVar(&addr, "addr", config.ControlAddr(), "the sidecar's control address")
	c.Flags().DurationVar(&limit, "timeout", 5*time.Second, "give up after this time")
	return c
}
