package main

import (
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sluice/sidecar/internal/config"
)

func breakerCmd() *cobra.Command {
	c := &cobra.Command{Use: "breaker", Short: "Act on the breaker, which keeps the webhooks of an app that refuses everything"}
	c.AddCommand(overrideCmd())
	return c
}

func overrideCmd() *cobra.Command {
	var addr string
	var limit time.Duration
	c := &cobra.Command{
		Use: "override", Short: "Let refusals count until the app accepts something: what it refuses becomes a dead letter",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := ask(http.MethodPost, "http://"+dialable(addr)+"/v1/breaker/override", limit); err != nil {
				fmt.Fprintf(os.Stderr, "sidecar: override the breaker at %s: %v; is it running, and is CONTROL_TOKEN the same here?\n", addr, err)
				return exit(exitFailed)
			}
			fmt.Fprintln(c.OutOrStdout(), "refusals count until the app accepts a webhook; `sidecar queue retry --suspect` brings back the dead letters they make")
			return nil
		},
	}
	c.Flags().StringVar(&addr, "addr", config.ControlAddr(), "the sidecar's control address")
	c.Flags().DurationVar(&limit, "timeout", 5*time.Second, "give up after this time")
	return c
}
