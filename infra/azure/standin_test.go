package azure

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"

	"github.com/jmespath/go-jmespath"
)

// The test binary plays `az`, `curl` and `docker` too, for the scripts: the
// directory STANDIN holds what the cloud looks like and a record of every call.
func TestMain(m *testing.M) {
	switch os.Getenv("STANDIN_PART") {
	case "az":
		os.Exit(playAz(os.Args[1:]))
	case "curl":
		os.Exit(playCurl(os.Args[1:]))
	case "docker":
		os.Exit(playDocker(os.Args[1:]))
	}
	code := m.Run()
	for _, f := range cleanUp {
		f()
	}
	os.Exit(code)
}

// call is one call of the stand-in.
type call struct {
	Command string
	Args    []string
	Options map[string][]string
	Images  []string // SLUICE_*_IMAGE in its environment
}

// errUsage is a command line that the real tool refuses; exit status 2.
var errUsage = errors.New("usage")

// held is the lock on the cloud, until this process ends.
var held *os.File

// lockCloud waits for its turn: a pipe in a script has two calls at once.
func lockCloud() (err error) {
	if held, err = os.OpenFile(cloudFile()+".lock", os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	return syscall.Flock(int(held.Fd()), syscall.LOCK_EX)
}

func cloudFile() string { return filepath.Join(os.Getenv("STANDIN"), "cloud.json") }

func playAz(args []string) int {
	c, err := loadCloud()
	if err == nil {
		err = c.az(args)
	}
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "ERROR:", err)
		return 2
	case errors.Is(err, errNotFound):
		fmt.Fprintln(os.Stderr, "ERROR:", err)
		return 3
	case err != nil:
		fmt.Fprintln(os.Stderr, "ERROR:", err)
		return 1
	}
	return 0
}

func playCurl([]string) int {
	c, err := loadCloud()
	if err != nil || c.Health == "" {
		fmt.Fprintln(os.Stderr, "curl: (7) no answer", err)
		return 7
	}
	fmt.Println(c.Health)
	return 0
}

// playDocker builds and pushes. An image that was pushed is in the registry.
func playDocker(args []string) int {
	if args[0] == "login" {
		_, _ = io.Copy(io.Discard, os.Stdin) // the token, before whoever prints it is waited for
	}
	c, err := loadCloud()
	if err == nil {
		err = record(call{Command: "docker " + args[0], Args: args})
	}
	if err == nil && args[0] == "push" {
		_, name, _ := strings.Cut(args[len(args)-1], "/")
		c.push(name)
		err = c.save()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "docker:", err)
		return 1
	}
	return 0
}

func loadCloud() (*cloud, error) {
	if err := lockCloud(); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(cloudFile())
	if err != nil {
		return nil, err
	}
	c := &cloud{}
	return c, json.Unmarshal(text, c)
}

func (c *cloud) save() error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(cloudFile(), text, 0o600)
}

// optionTable is what infra/azure/az-options wrote.
type optionTable struct {
	Source   string
	Commands map[string][]string
}

// options reads the table once: the tests hold every call of every run to it.
var options = sync.OnceValues(func() (table optionTable, err error) {
	text, err := os.ReadFile(os.Getenv("STANDIN_OPTIONS"))
	if err != nil {
		return table, err
	}
	return table, json.Unmarshal(text, &table)
})

// parse splits a call into command and options, and refuses an option that the
// real one does not have, as the real one would.
func parse(args []string) (call, error) {
	table, err := options()
	if err != nil {
		return call{}, err
	}
	k := call{Args: args, Options: map[string][]string{}}
	for _, name := range []string{"SLUICE_APP_IMAGE", "SLUICE_SIDECAR_IMAGE"} {
		k.Images = append(k.Images, os.Getenv(name))
	}
	words := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") })
	if words < 0 {
		words = len(args)
	}
	k.Command = strings.Join(args[:words], " ")
	known, ok := table.Commands[k.Command]
	if !ok {
		return k, fmt.Errorf("%w: no command %q", errUsage, k.Command)
	}
	option := ""
	for _, a := range args[words:] {
		if !strings.HasPrefix(a, "-") {
			// An option has one value, so what follows it belongs to the command.
			if len(k.Options[option]) == 0 || option == "--build-arg" || option == "--parameters" {
				k.Options[option] = append(k.Options[option], a)
			}
			continue
		}
		if !slices.Contains(known, a) && !slices.Contains(table.Commands[""], a) {
			return k, fmt.Errorf("%w: unrecognized arguments: %s", errUsage, a)
		}
		option = a
		k.Options[option] = append([]string{}, k.Options[option]...)
	}
	return k, nil
}

func (k call) option(name string) string { return strings.Join(k.Options[name], " ") }

func (k call) has(name string) bool {
	_, there := k.Options[name]
	return there
}

func record(k call) error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(os.Getenv("STANDIN"), "calls"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	return errors.Join(err, f.Close())
}

// az does one call. What a failed command has changed stays changed.
func (c *cloud) az(args []string) error {
	k, err := parse(args)
	if recordErr := record(k); recordErr != nil {
		return recordErr
	}
	if err != nil {
		return err
	}
	doc, err := c.answer(k)
	if err := errors.Join(err, c.save()); err != nil {
		return err
	}
	if doc == nil {
		return nil
	}
	return printAs(k.option("--output"), k.option("--query"), doc)
}

// printAs applies the query and prints as --output says, as far as the scripts
// use it.
func printAs(output, query string, doc any) error {
	text, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	var plain any
	if err := json.Unmarshal(text, &plain); err != nil {
		return err
	}
	if query != "" {
		if plain, err = jmespath.Search(query, plain); err != nil {
			return fmt.Errorf("%w: --query %s: %w", errUsage, query, err)
		}
	}
	switch output {
	case "none":
		return nil
	case "table":
		printTable(query, plain)
		return nil
	case "tsv":
		rows, ok := plain.([]any)
		if !ok && plain != nil {
			rows = []any{plain}
		}
		for _, row := range rows {
			fmt.Println(tsv(row))
		}
		return nil
	}
	if s, ok := plain.(string); ok && output != "json" {
		fmt.Println(s)
		return nil
	}
	text, err = json.MarshalIndent(plain, "", "  ")
	fmt.Println(string(text))
	return err
}

// tsv is one line. What is null prints as None (knack, output.py, _TsvOutput).
func tsv(row any) string {
	cells, ok := row.([]any)
	if !ok {
		cells = []any{row}
	}
	var texts []string
	for _, cell := range cells {
		switch cell := cell.(type) {
		case nil:
			texts = append(texts, "None")
		case []any:
			texts = append(texts, fmt.Sprint(len(cell)))
		case map[string]any:
			texts = append(texts, "")
		default:
			texts = append(texts, fmt.Sprint(cell))
		}
	}
	return strings.Join(texts, "\t")
}

// column finds the names of a query's columns, whose order a table keeps.
var column = regexp.MustCompile(`(\w+): `)

func printTable(query string, doc any) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	var names, heads, rules []string
	for _, m := range column.FindAllStringSubmatch(query, -1) {
		names = append(names, m[1])
		heads = append(heads, strings.ToUpper(m[1][:1])+m[1][1:])
		rules = append(rules, strings.Repeat("-", len(m[1])))
	}
	fmt.Fprintln(w, strings.Join(heads, "\t"))
	fmt.Fprintln(w, strings.Join(rules, "\t"))
	rows, _ := doc.([]any)
	for _, row := range rows {
		var cells []string
		for _, name := range names {
			cells = append(cells, fmt.Sprint(row.(object)[name]))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	if err := w.Flush(); err != nil {
		panic(err) // standard output is gone
	}
}
