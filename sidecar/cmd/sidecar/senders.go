package main

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
	"unicode"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"sluice/sidecar/senders"
)

func sendersCmd() *cobra.Command {
	var file, output string
	c := &cobra.Command{
		Use: "senders", Short: "Look at the known senders, and try a request on one: senders list, show, test", Args: cobra.NoArgs,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error { return checkOutput(output) },
	}
	c.PersistentFlags().StringVar(&file, "file", "", "a file with more senders: a routes file, or NAME: {scheme}")
	c.PersistentFlags().StringVar(&output, "output", "table", "table or json")
	c.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the senders", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error { return listSenders(c.OutOrStdout(), file, output) },
		},
		&cobra.Command{
			Use: "show NAME", Short: "Show what a sender signs and how it is answered", Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error {
				return showSender(c.OutOrStdout(), file, args[0], output)
			},
		},
		testSenderCmd(&file, &output),
	)
	return c
}

// sender is a built-in sender, or one from the file.
type sender struct {
	senders.Sender
	scheme *senders.Scheme // nil for a sender that is only code
}

// loadSenders returns the senders in the file; none when no file is named.
func loadSenders(file string) (map[string]sender, error) {
	found := map[string]sender{}
	if file == "" {
		return found, nil
	}
	text, err := os.ReadFile(file) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, fmt.Errorf("read senders: %w", err)
	}
	schemes, err := schemesOf(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var problems []error
	for name, scheme := range schemes {
		s, err := scheme.Compile(name)
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				problems = append(problems, fmt.Errorf("%s: senders.%s.%s", file, name, strings.TrimRight(line, "\n")))
			}
			continue
		}
		found[name] = sender{s, &scheme}
	}
	return found, errors.Join(problems...)
}

// schemesOf reads the section senders of a routes file, or a file of schemes alone.
func schemesOf(text []byte) (map[string]senders.Scheme, error) {
	var routesFile struct {
		Senders yaml.MapSlice `yaml:"senders"`
	}
	if err := yaml.Unmarshal(text, &routesFile); err == nil && len(routesFile.Senders) > 0 {
		if text, err = yaml.Marshal(routesFile.Senders); err != nil {
			return nil, fmt.Errorf("read section senders: %w", err)
		}
	}
	return senders.ParseSchemes(text)
}

func findSender(file, name string) (sender, error) {
	own, err := loadSenders(file)
	if err != nil {
		return sender{}, badConfiguration(err)
	}
	if s, ok := own[name]; ok {
		return s, nil
	}
	s, err := senders.Lookup(name)
	if err != nil {
		return sender{}, err
	}
	if scheme, ok := senders.Declared(name); ok {
		return sender{s, &scheme}, nil
	}
	return sender{Sender: s}, nil
}

func listSenders(out io.Writer, file, output string) error {
	own, err := loadSenders(file)
	if err != nil {
		return badConfiguration(err)
	}
	names := senders.Names()
	for name := range own {
		names = append(names, name)
	}
	type row struct {
		Name   string `json:"name"`
		Secret string `json:"secret"`
		Signed string `json:"signed"`
		Status int    `json:"status"`
		Budget string `json:"budget"`
	}
	rows := []row{}
	for _, name := range names {
		s, err := findSender(file, name)
		if err != nil {
			return err
		}
		t := s.Traits()
		r := row{name, t.SecretVar, "by code", t.HoldStatus, t.Budget.String()}
		if s.scheme != nil {
			r.Signed = s.scheme.Signature[0].From
		}
		rows = append(rows, r)
	}
	if output == "json" {
		return json.NewEncoder(out).Encode(rows)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSECRET\tSIGNATURE\tSTATUS\tBUDGET")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", r.Name, r.Secret, r.Signed, r.Status, r.Budget)
	}
	return w.Flush()
}

// showSender prints the scheme in a form that a routes file takes.
func showSender(out io.Writer, file, name, output string) error {
	s, err := findSender(file, name)
	if err != nil {
		return err
	}
	t := s.Traits()
	if s.scheme == nil {
		s.scheme = &senders.Scheme{Secret: t.SecretVar, Status: t.HoldStatus, Budget: t.Budget.String(), Retries: t.RetriesItself, Lane: senders.Texts(t.Lane), Final: t.Final, Refuse: t.Refuse, Marks: t.Marks, SharedMarks: t.SharedMarks}
		fmt.Fprintf(os.Stderr, "%s is code: a scheme cannot say how it signs\n", name)
	}
	shown := map[string]*senders.Scheme{name: s.scheme}
	if output == "json" {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(shown)
	}
	text, err := yaml.Marshal(shown)
	if err != nil {
		return fmt.Errorf("show sender: %w", err)
	}
	_, err = out.Write(text)
	return err
}

// trial has the arguments of `sidecar senders test`.
type trial struct {
	secretEnv, header     []string
	body, method, url, at string
}

func testSenderCmd(file, output *string) *cobra.Command {
	var t trial
	c := &cobra.Command{
		Use: "test NAME --secret-env V --header 'NAME: VALUE' --body FILE", Args: cobra.ExactArgs(1),
		Short: "Verify a request and show what is expected, what was found and where they differ",
		RunE: func(c *cobra.Command, args []string) error {
			s, err := findSender(*file, args[0])
			if err != nil {
				return err
			}
			return t.run(c.InOrStdin(), c.OutOrStdout(), s, *output)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&t.secretEnv, "secret-env", nil, "the variable with the secret, in place of the sender's own; may be repeated")
	f.StringArrayVar(&t.header, "header", nil, "a header field of the request; may be repeated")
	f.StringVar(&t.body, "body", "", "a file with the body byte for byte; - reads standard input")
	f.StringVar(&t.method, "method", "POST", "the request's method")
	f.StringVar(&t.url, "url", "", "the request's URL, where it is signed")
	f.StringVar(&t.at, "at", "", "the time of receipt, RFC 3339, in place of now")
	return c
}

func (t *trial) run(in io.Reader, out io.Writer, s sender, output string) error {
	secrets, err := t.secrets(s.Traits())
	if err != nil {
		return err
	}
	r, now, err := t.request(in)
	if err != nil {
		return err
	}
	e := senders.Explain(s.Sender, r, secrets, now)
	if output == "json" {
		err = json.NewEncoder(out).Encode(e)
	} else {
		err = printExplanation(out, e)
	}
	if err == nil && !e.Verified {
		err = exit(exitFailed)
	}
	return err
}

// secrets returns the values of the variables. A comma is part of the secret.
func (t *trial) secrets(traits senders.Traits) ([]string, error) {
	names := t.secretEnv
	if len(names) == 0 && traits.SecretVar != "" {
		names = []string{traits.SecretVar}
	}
	if len(names) == 0 {
		return nil, errors.New("--secret-env must name the variable with the secret")
	}
	var secrets []string
	for _, name := range names {
		value := os.Getenv(name)
		if value == "" {
			return nil, fmt.Errorf("%s must hold the secret; it is empty", name)
		}
		secrets = append(secrets, value)
	}
	return secrets, nil
}

func (t *trial) request(in io.Reader) (senders.Request, time.Time, error) {
	r := senders.Request{Method: t.method, URL: t.url}
	header := http.Header{}
	for _, line := range t.header {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return r, time.Time{}, errors.New("--header must be NAME: VALUE")
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	r.Header = header
	now, err := time.Now(), error(nil)
	if t.at != "" {
		if now, err = time.Parse(time.RFC3339, t.at); err != nil {
			return r, now, fmt.Errorf("--at must be a time such as 2026-11-02T10:00:00Z; it is %q", t.at)
		}
	}
	switch t.body {
	case "":
	case "-":
		r.Body, err = io.ReadAll(in)
	default:
		r.Body, err = os.ReadFile(t.body)
	}
	if err != nil {
		return r, now, fmt.Errorf("read body: %w", err)
	}
	return r, now, nil
}

func printExplanation(out io.Writer, e senders.Explanation) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CHECK\tEXPECTED\tFOUND\tRIGHT")
	for _, c := range e.Checks {
		right := "no"
		if c.OK {
			right = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.What, oneLine(c.Want), oneLine(c.Got), right)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s: %s; delivery id %q, event %q\n", e.Sender, e.Verdict, e.ID, e.Event)
	for _, hint := range e.Hints {
		fmt.Fprintf(out, "hint: %s\n", hint)
	}
	return nil
}

// oneLine replaces control characters, so that a request's text cannot break the table.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}
