package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sluice/sidecar/internal/config"
	"sluice/sidecar/internal/control"
	"sluice/sidecar/settings"
)

func statusCmd() *cobra.Command {
	var addr, output string
	var limit time.Duration
	c := &cobra.Command{
		Use: "status", Short: "Show what this replica's sidecar is doing", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			body, err := get("http://"+dialable(addr)+"/v1/status", limit)
			if err != nil {
				fmt.Fprintf(os.Stderr, "sidecar: ask the sidecar at %s: %v; is it running, and is CONTROL_TOKEN the same here?\n", addr, err)
				return exit(exitFailed)
			}
			if output == "json" {
				_, err := c.OutOrStdout().Write(body)
				return err
			}
			var s control.Status
			if err := json.Unmarshal(body, &s); err != nil {
				return fmt.Errorf("read the sidecar's answer: %w", err)
			}
			return table(c.OutOrStdout(), s)
		},
	}
	c.Flags().StringVar(&addr, "addr", config.ControlAddr(), "the sidecar's control address")
	c.Flags().StringVar(&output, "output", "table", "table or json")
	c.Flags().DurationVar(&limit, "timeout", 5*time.Second, "give up after this time")
	return c
}

func table(out io.Writer, s control.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t"+format+"\n", append([]any{name}, args...)...)
	}
	row("REPLICA", "%s (%s, up %v)", s.Replica, s.Version, (time.Duration(s.UptimeSecs) * time.Second))
	row("STATE", "%s", s.State)
	row("APP", "%s", s.App)
	row("DATABASE", "%s", s.Database)
	row("HELD", "%d (%d pending, %d processing, %.1f MB, oldest %.0f s)", s.Held, s.Pending, s.Processing, float64(s.HeldBytes)/1e6, s.OldestSecs)
	row("FAILED", "%d", s.Failed)
	row("REPLAYED", "%d by this replica", s.Replayed)
	row("IN FLIGHT", "%d to the app, %d being stored", s.InFlight, s.Holding)
	if s.BreakerOpenSecs > 0 {
		row("BREAKER", "open for %.0f s: the app refuses everything (%s), held webhooks stay where they are", s.BreakerOpenSecs, refusal(s.BreakerStatus))
	}
	for _, key := range s.LockedKeys {
		row("KEY MISSING", "%s: lanes wait for a replica that has it in BUFFER_KEY", key)
	}
	row("LANES", "%d shut, %d opened by CATCHUP_LIMIT (ORDER=%s)", s.ShutLanes, s.Forced, s.Order)
	for _, of := range s.Closed {
		row("CLOSED", "%s (%s) has no secret: set %s", of.Route, of.Source, of.Variable)
	}
	for _, of := range s.Refused {
		row("REFUSED", "%d at %s (%s): %s", of.Count, of.Route, of.Source, of.Reason)
	}
	for _, of := range s.Unrouted {
		path := of.Path
		if path == "" {
			path = "other paths"
		}
		row("NO ROUTE", "%d at %s, which look like %s's", of.Count, path, of.Sender)
		if of.Add != "" {
			row("", "add %s", of.Add)
		}
	}
	return w.Flush()
}

func refusal(status int) string {
	if status == 0 {
		return "each attempt fails"
	}
	return fmt.Sprintf("status %d", status)
}

func probeCmd() *cobra.Command {
	var url string
	var limit time.Duration
	c := &cobra.Command{
		Use: "probe", Short: "Exit 0 when a health path answers with 2xx, for container health checks without a shell",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if _, err := get(url, limit); err != nil {
				fmt.Fprintf(os.Stderr, "sidecar: probe %s: %v\n", url, err)
				return exit(exitFailed)
			}
			return nil
		},
	}
	c.Flags().StringVar(&url, "url", "http://"+dialable(config.ProbeAddr())+"/livez", "what to ask")
	c.Flags().DurationVar(&limit, "timeout", 2*time.Second, "give up after this time")
	return c
}

// dialable turns a listen address into one to connect to.
func dialable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func get(url string, limit time.Duration) ([]byte, error) { return ask(http.MethodGet, url, limit) }

func ask(method, url string, limit time.Duration) ([]byte, error) {
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		return nil, err
	}
	token, err := settings.LookupSecret("CONTROL_TOKEN")
	if err != nil {
		return nil, err
	}
	if token.IsSet() {
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	resp, err := (&http.Client{Timeout: limit}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("answered %s", resp.Status)
	}
	return body, err
}
