package azure

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jmespath/go-jmespath"
)

// The test binary plays `az` and `curl` too, for the scripts: the directory
// STANDIN holds what the cloud looks like and a record of every call.
func TestMain(m *testing.M) {
	switch os.Getenv("STANDIN_PART") {
	case "az":
		os.Exit(playAz(os.Args[1:]))
	case "curl":
		os.Exit(playCurl(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// cloud is what the stand-in knows of Azure.
type cloud struct {
	Version    string
	SignedIn   bool
	Foundation bool     // registry, vault and database are there
	Images     []string // name:tag in the registry
	Secrets    []string // in the vault
	Mode       string   // Single or Multiple
	External   bool
	Revisions  []revision // oldest first
	NextHealth string     // of the next revision: Healthy or Unhealthy
	Health     string     // answer of /healthz
	AppLog     []string
}

type revision struct {
	Name, Health, Running string
	Images                []string
	Weight                int
	Active                bool
}

// call is one call of the stand-in.
type call struct {
	Command string
	Args    []string
	Options map[string][]string
	Images  []string // SLUICE_*_IMAGE in its environment
}

var errUsage = errors.New("usage")

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
	case err != nil:
		fmt.Fprintln(os.Stderr, "ERROR:", err)
		return 3
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

func loadCloud() (*cloud, error) {
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

// parse splits a call into command and options, and refuses an option that the
// real one does not have, as the real one would.
func parse(args []string) (call, error) {
	var table map[string][]string
	text, err := os.ReadFile(os.Getenv("STANDIN_OPTIONS"))
	if err != nil {
		return call{}, err
	}
	if err := json.Unmarshal(text, &table); err != nil {
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
	known, ok := table[k.Command]
	if !ok {
		return k, fmt.Errorf("%w: no command %q", errUsage, k.Command)
	}
	option := ""
	for _, a := range args[words:] {
		if !strings.HasPrefix(a, "-") {
			// An option has one value, so what follows it belongs to the command.
			if len(k.Options[option]) == 0 || option == "--build-arg" {
				k.Options[option] = append(k.Options[option], a)
			}
			continue
		}
		if !slices.Contains(known, a) && !slices.Contains(table[""], a) {
			return k, fmt.Errorf("%w: unrecognized arguments: %s", errUsage, a)
		}
		option = a
		k.Options[option] = append([]string{}, k.Options[option]...)
	}
	return k, nil
}

func (k call) option(name string) string { return strings.Join(k.Options[name], " ") }

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

func (c *cloud) az(args []string) error {
	k, err := parse(args)
	if recordErr := record(k); recordErr != nil {
		return recordErr
	}
	if err != nil {
		return err
	}
	doc, err := c.answer(k)
	if err != nil {
		return err
	}
	if err := c.save(); err != nil {
		return err
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
	case "tsv":
		rows, ok := plain.([]any)
		if !ok && plain != nil {
			rows = []any{plain}
		}
		for _, row := range rows {
			fmt.Println(row)
		}
		return nil
	}
	if s, ok := plain.(string); ok {
		fmt.Println(s)
		return nil
	}
	text, err = json.MarshalIndent(plain, "", "  ")
	fmt.Println(string(text))
	return err
}
