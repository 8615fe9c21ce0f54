package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/config"
)

func queueCmd() *cobra.Command {
	c := &cobra.Command{
		Use: "queue", Short: "Work on the held webhooks in the database: queue retry", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(retryCmd())
	return c
}

// retry has the arguments of `sidecar queue retry`.
type retry struct {
	filter      buffer.FailedFilter
	all, yes    bool
	url, output string
	limit       time.Duration
}

func retryCmd() *cobra.Command {
	var r retry
	c := &cobra.Command{
		Use: "retry {--suspect | --source S | --id N[,N] | --all}", Args: cobra.NoArgs,
		Short: "Make failed webhooks (the dead letters) pending again, in their old place",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := r.check(); err != nil {
				return err
			}
			store, err := openQueue(r.url)
			if err != nil {
				return badConfiguration(err)
			}
			defer store.Close()
			ctx, cancel := context.WithTimeout(context.Background(), r.limit)
			defer cancel()
			return r.run(ctx, store, c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.BoolVar(&r.filter.Suspect, "suspect", false, "only those from a time when the app accepted nothing")
	f.StringVar(&r.filter.Source, "source", "", "only those of this source")
	f.Int64SliceVar(&r.filter.IDs, "id", nil, "only these: the column id of webhook_queue")
	f.BoolVar(&r.all, "all", false, "every failed webhook")
	f.BoolVar(&r.yes, "yes", false, "do not ask")
	f.StringVar(&r.url, "database-url", "", "the database, in place of DATABASE_URL")
	f.StringVar(&r.output, "output", "table", "table or json")
	f.DurationVar(&r.limit, "timeout", 10*time.Minute, "give up after this time")
	return c
}

func (r *retry) check() error {
	if err := checkOutput(r.output); err != nil {
		return err
	}
	some := r.filter.Suspect || r.filter.Source != "" || len(r.filter.IDs) > 0
	switch {
	case some && r.all:
		return errors.New("--all means every failed webhook: use it alone")
	case !some && !r.all:
		return errors.New("say which: --suspect, --source S, --id N[,N] or --all")
	}
	return nil
}

// openQueue opens the database with its own settings alone, so that it works where
// the others are not set.
func openQueue(url string) (*buffer.Store, error) {
	c, err := config.LoadDatabase(url)
	if err != nil {
		return nil, err
	}
	password, err := c.DatabasePassword()
	if err != nil {
		return nil, err
	}
	return buffer.Open(context.Background(), buffer.Config{URL: c.DatabaseURL.Reveal(), Instance: uuid.NewString(), Password: password})
}

func (r *retry) run(ctx context.Context, store *buffer.Store, out io.Writer) error {
	fail := func(err error) error {
		fmt.Fprintf(os.Stderr, "sidecar: %v\n", err)
		return exit(exitFailed)
	}
	if _, missing, err := store.Migrations(ctx); err != nil {
		return fail(err)
	} else if len(missing) > 0 {
		return fail(fmt.Errorf("the tables lack %s: run sidecar migrate first", strings.Join(missing, ", ")))
	}
	n, err := store.CountFailed(ctx, r.filter)
	if err != nil {
		return fail(err)
	}
	if n > 0 && !r.yes && isTerminal(os.Stdin) && !confirmed(os.Stdin, os.Stderr, n) {
		return fail(errors.New("nothing was changed"))
	}
	n, err = store.RetryFailed(ctx, r.filter)
	if err := r.print(out, n); err != nil {
		return fail(err)
	}
	if err != nil {
		return fail(fmt.Errorf("%w; run it again for the rest", err))
	}
	return nil
}

func (r *retry) print(out io.Writer, n int64) error {
	if r.output == "json" {
		return json.NewEncoder(out).Encode(map[string]int64{"retried": n})
	}
	_, err := fmt.Fprintf(out, "RETRIED  %d\n", n)
	return err
}

func confirmed(in io.Reader, out io.Writer, n int64) bool {
	fmt.Fprintf(out, "Make %d failed webhooks pending again? [y/N] ", n)
	answer, _ := bufio.NewReader(in).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// isTerminal reports whether it is a character device other than the null device.
func isTerminal(f *os.File) bool {
	is, err := f.Stat()
	if err != nil || is.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(is, null)
}
