// Command sender posts signed webhooks to an installation, as the rehearsal's
// senders do, until it is interrupted or the time is over, and prints the
// results. It exits with 1 when a webhook was never acknowledged.
//
//	GITHUB_WEBHOOK_SECRET=... sender --url https://... --duration 10m
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sluice/infra/rehearsal/sender"
)

var errLost = errors.New("webhooks were never acknowledged")

func main() {
	if err := command().Execute(); err != nil {
		os.Exit(1)
	}
}

func command() *cobra.Command {
	o := sender.Options{PerLane: 1, Bytes: 1000, Retry: true, MaxTries: 20}
	var duration time.Duration
	c := &cobra.Command{
		Use: "sender --url URL", Short: "Post signed webhooks and print the results",
		Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			o.Secrets = sender.Secrets{GitHub: os.Getenv("GITHUB_WEBHOOK_SECRET"), Slack: os.Getenv("SLACK_SIGNING_SECRET")}
			o.Count = int(duration.Seconds() * float64(o.Rate))
			return send(ctx, c, o)
		},
	}
	c.SetContext(context.Background())
	c.Flags().StringVar(&o.URL, "url", "", "address of the installation")
	c.Flags().IntVar(&o.Rate, "rate", 5, "webhooks a second")
	c.Flags().IntVar(&o.Lanes, "lanes", 2, "lanes of each source")
	c.Flags().DurationVar(&duration, "duration", 10*time.Minute, "for how long")
	_ = c.MarkFlagRequired("url") // it fails only for an unknown flag
	return c
}

// send posts until ctx ends. A webhook that was cut off by that is not counted as
// lost.
func send(ctx context.Context, c *cobra.Command, o sender.Options) error {
	f := sender.New(o)
	defer f.Close()
	f.Run(ctx)
	sent, lost := 0, 0
	var longest time.Duration
	for _, w := range f.Ledger.Webhooks() {
		sent++
		last := w.Tries[len(w.Tries)-1]
		switch {
		case w.Acknowledged() != nil:
			longest = max(longest, last.Done.Sub(w.Tries[0].Sent))
		case ctx.Err() == nil || last.Status != 0:
			lost++
			fmt.Fprintf(c.OutOrStdout(), "never acknowledged: %s %s: %d %s\n", w.Source, w.Delivery, last.Status, last.Err)
		}
	}
	n := f.Ledger.Count()
	fmt.Fprintf(c.OutOrStdout(), "%d webhooks, %d acknowledged, %d of them held, %d refusals, %d never acknowledged, longest %v\n",
		sent, n.Acknowledged, n.Held, n.Refused, lost, longest.Round(time.Millisecond))
	if lost > 0 {
		return errLost
	}
	return nil
}
