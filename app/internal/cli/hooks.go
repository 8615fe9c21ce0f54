package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sluice/app/internal/actions"
	"sluice/app/internal/config"
	"sluice/app/internal/hooks"
)

func hooksCommand(stdout io.Writer) *cobra.Command {
	c := &cobra.Command{Use: "hooks", Short: "Check and try the hooks file", Args: cobra.NoArgs, RunE: needSubcommand}
	c.AddCommand(
		&cobra.Command{
			Use: "check FILE", Short: "Check a hooks file: every problem with its line, and what an earlier release did otherwise", Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error {
				rules, err := hooks.Load(args[0])
				if err != nil {
					return err
				}
				for _, advice := range rules.Advice(readScript) {
					_, _ = fmt.Fprintf(stdout, "%s: warning: %s\n", args[0], advice)
				}
				_, err = fmt.Fprintf(stdout, "%s: %d hooks, no problems\n", args[0], len(rules.All()))
				return err
			},
		},
		&cobra.Command{
			Use: "schema", Short: "Print the JSON Schema of a hooks file, for editors", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				_, err := stdout.Write(hooks.Schema)
				return err
			},
		},
		hooksTestCommand(stdout),
	)
	return c
}

// readScript returns the text of a shell script, "" for any other file. A long one is
// read in part.
func readScript(file string) string {
	f, err := os.Open(file) //nolint:gosec // the operator's own file
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if first, _, _ := strings.Cut(string(text), "\n"); err != nil || !strings.HasPrefix(first, "#!") || !strings.Contains(first, "sh") {
		return ""
	}
	return string(text)
}

// trial has the flags of `app hooks test`.
type trial struct {
	file, event, source, route, target, name, output string
	headers                                          []string
	unverified                                       bool
}

func hooksTestCommand(stdout io.Writer) *cobra.Command {
	var t trial
	c := &cobra.Command{
		Use:   "test --event FILE",
		Short: "Say which hooks an event would start, and with what command line; nothing is run",
		Long: `Say which hooks an event would start, and with what command line; nothing is run.

FILE is a payload as the sender posts it, its source and event given by flags;
or one JSON object {"source", "route", "method", "path", "query", "verified", "event",
"delivery_id", "headers", "payload"}.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return t.run(stdout) },
	}
	f := c.Flags()
	f.StringVar(&t.event, "event", "", "file with the event (required)")
	f.StringVar(&t.file, "hooks", config.HooksFile(), "hooks file")
	f.StringVar(&t.source, "source", "github", "sender of a bare payload")
	f.StringVar(&t.route, "route", "", "name of the route (default: the source)")
	f.StringVar(&t.target, "path", "", "path of the request, with its query")
	f.BoolVar(&t.unverified, "unverified", false, "the webhook was not verified")
	f.StringVar(&t.name, "name", "", "event name of a bare payload, such as push")
	f.StringArrayVar(&t.headers, "header", nil, `header field of a bare payload, "Name: value"`)
	outputFlag(c, &t.output)
	_ = c.MarkFlagRequired("event")
	return c
}

// verdict says what one matching hook would do.
type verdict struct {
	Hook   string   `json:"hook"`
	Action string   `json:"action"`
	Does   []string `json:"does"` // for exec: the command line
	Key    string   `json:"concurrency_key,omitempty"`
}

func (t *trial) run(stdout io.Writer) error {
	if t.file == "" {
		return errors.New("no hooks file: use --hooks or HOOKS_FILE")
	}
	rules, err := hooks.Load(t.file)
	if err != nil {
		return err
	}
	event, err := t.read()
	if err != nil {
		return err
	}
	matches, problems := rules.Match(event)
	verdicts := []verdict{}
	for _, m := range matches {
		does, err := actions.Describe(m.Hook, event)
		if err != nil {
			problems = append(problems, fmt.Errorf("hook %q: %w", m.Hook.Name, err))
		}
		_, key, _ := strings.Cut(m.Key, "\x1f")
		verdicts = append(verdicts, verdict{m.Hook.Name, m.Hook.Action.Kind(), does, key})
	}
	if err := t.print(stdout, verdicts); err != nil {
		return err
	}
	return errors.Join(problems...)
}

// read reads the event from the file.
func (t *trial) read() (*hooks.Event, error) {
	text, err := os.ReadFile(t.event)
	if err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	e := &hooks.Event{
		ID: "00000000-0000-7000-8000-000000000000", Source: t.source, Event: t.name, DeliveryID: "test",
		Method: http.MethodPost, Verified: !t.unverified,
		ReceivedAt: time.Now(), Header: http.Header{"Content-Type": {"application/json"}}, Body: text,
	}
	e.Path, e.Query, _ = strings.Cut(t.target, "?")
	var whole struct {
		Source     string            `json:"source"`
		Route      string            `json:"route"`
		Method     string            `json:"method"`
		Path       string            `json:"path"`
		Query      string            `json:"query"`
		Verified   *bool             `json:"verified"`
		Event      string            `json:"event"`
		DeliveryID string            `json:"delivery_id"`
		Headers    map[string]string `json:"headers"`
		Payload    json.RawMessage   `json:"payload"`
	}
	if json.Unmarshal(text, &whole) == nil && whole.Source != "" && whole.Payload != nil {
		e.Source, e.Event, e.DeliveryID, e.Body = whole.Source, whole.Event, whole.DeliveryID, whole.Payload
		e.Route, e.Path, e.Query = whole.Route, whole.Path, whole.Query
		if whole.Method != "" {
			e.Method = whole.Method
		}
		if whole.Verified != nil {
			e.Verified = *whole.Verified
		}
		for name, value := range whole.Headers {
			http.Header(e.Header).Set(name, value)
		}
	}
	for _, field := range t.headers {
		name, value, ok := strings.Cut(field, ":")
		if !ok {
			return nil, fmt.Errorf("--header must be \"Name: value\", is %q", field)
		}
		http.Header(e.Header).Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if t.route != "" {
		e.Route = t.route
	}
	if e.Route == "" {
		e.Route = e.Source
	}
	if e.Event == "" {
		e.Event = http.Header(e.Header).Get("X-GitHub-Event")
	}
	return e, nil
}

func (t *trial) print(w io.Writer, verdicts []verdict) error {
	if t.output == "json" {
		return printJSON(w, verdicts)
	}
	if len(verdicts) == 0 {
		_, err := fmt.Fprintln(w, "no hook would run")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "HOOK\tACTION\tDOES\tKEY")
	for _, v := range verdicts {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", v.Hook, v.Action, quoted(v.Does), v.Key)
	}
	return table.Flush()
}

// quoted joins arguments and quotes those with special characters.
func quoted(args []string) string {
	shown := make([]string, len(args))
	for i, a := range args {
		shown[i] = a
		if a == "" || strings.ContainsAny(a, " \t\n\"'\\$`*?;&|<>()") {
			shown[i] = fmt.Sprintf("%q", a)
		}
	}
	return strings.Join(shown, " ")
}
