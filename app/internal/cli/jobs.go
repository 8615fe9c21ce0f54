package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sluice/app/internal/config"
	"sluice/app/internal/database"
	"sluice/app/internal/jobs"
)

// commandLimit limits how long a command may use the database.
const commandLimit = 30 * time.Second

func jobsCommand(stdout io.Writer) *cobra.Command {
	c := &cobra.Command{Use: "jobs", Short: "Look at jobs and change them (needs DATABASE_URL)", Args: cobra.NoArgs, RunE: needSubcommand}
	c.AddCommand(
		jobsListCommand(stdout),
		jobCommand(stdout, "show", "Show a job with its outcome and errors", (*jobs.Admin).Show),
		jobCommand(stdout, "retry", "Run a job again, now or when its key's turn comes", (*jobs.Admin).Retry),
		jobCommand(stdout, "cancel", "Cancel a job; a running job is ended", (*jobs.Admin).Cancel),
	)
	return c
}

func jobsListCommand(stdout io.Writer) *cobra.Command {
	var state, hook, output string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List jobs, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > 10_000 {
				return errors.New("--limit must be between 1 and 10000")
			}
			return withAdmin(cmd.Context(), func(ctx context.Context, a *jobs.Admin) error {
				list, err := a.List(ctx, state, hook, limit)
				if err != nil {
					return err
				}
				if output == "json" {
					return printJSON(stdout, list)
				}
				return printJobs(stdout, list)
			})
		},
	}
	c.Flags().StringVar(&state, "state", "", "available, pending, scheduled, running, retryable, completed, cancelled or discarded")
	c.Flags().StringVar(&hook, "hook", "", "name of a hook")
	c.Flags().IntVar(&limit, "limit", 50, "how many, up to 10000")
	outputFlag(c, &output)
	return c
}

func jobCommand(stdout io.Writer, verb, short string, do func(*jobs.Admin, context.Context, int64) (jobs.Job, error)) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: verb + " ID", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return fmt.Errorf("job number must be a number, is %q", args[0])
			}
			return withAdmin(cmd.Context(), func(ctx context.Context, a *jobs.Admin) error {
				job, err := do(a, ctx, id)
				if err != nil {
					return err
				}
				if output == "json" {
					return printJSON(stdout, job)
				}
				return printJob(stdout, job)
			})
		},
	}
	outputFlag(c, &output)
	return c
}

// withAdmin opens the database for one command.
func withAdmin(ctx context.Context, run func(context.Context, *jobs.Admin) error) error {
	c, err := config.Load()
	if err != nil {
		return err
	}
	c.DatabaseMaxConns = 2
	pool, err := database.Open(c.Database())
	if err != nil {
		return err
	}
	defer pool.Close()
	admin, err := jobs.NewAdmin(pool)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	if err := run(ctx, admin); err != nil {
		return failed{err}
	}
	return nil
}

func printJobs(w io.Writer, list []jobs.Job) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tSTATE\tHOOK\tSOURCE\tEVENT\tATTEMPT\tCREATED\tDELIVERY")
	for _, j := range list {
		_, _ = fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%d/%d\t%s\t%s\n", j.ID, j.State, j.Hook, j.Source, j.Event,
			j.Attempt, j.MaxAttempts, j.Created.Local().Format(time.DateTime), j.DeliveryID)
	}
	return table.Flush()
}

func printJob(w io.Writer, j jobs.Job) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, value any) { _, _ = fmt.Fprintf(table, "%s\t%v\n", name, value) }
	row("id", j.ID)
	row("state", j.State)
	row("hook", j.Hook)
	row("source", j.Source)
	row("event", j.Event)
	row("delivery", j.DeliveryID)
	row("sluice id", j.SluiceID)
	row("attempt", fmt.Sprintf("%d of %d (started %d times)", j.Attempt, j.MaxAttempts, j.Starts))
	row("created", j.Created.Local().Format(time.DateTime))
	if j.Next != nil {
		row("next", j.Next.Local().Format(time.DateTime))
	}
	if j.Finished != nil {
		row("finished", j.Finished.Local().Format(time.DateTime))
	}
	var out struct {
		Action     string `json:"action"`
		ExitCode   *int   `json:"exit_code"`
		Status     int    `json:"status"`
		DurationMS int64  `json:"duration_ms"`
		Output     string `json:"output"`
	}
	if json.Unmarshal(j.Outcome, &out) == nil {
		row("action", out.Action)
		row("duration", time.Duration(out.DurationMS)*time.Millisecond)
		if out.ExitCode != nil {
			row("exit code", *out.ExitCode)
		}
		if out.Status != 0 {
			row("status", out.Status)
		}
	}
	for _, e := range j.Errors {
		row("error", fmt.Sprintf("attempt %d at %s: %s", e.Attempt, e.At.Local().Format(time.DateTime), e.Error))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if out.Output != "" {
		_, err := fmt.Fprintf(w, "output:\n%s\n", out.Output)
		return err
	}
	return nil
}
