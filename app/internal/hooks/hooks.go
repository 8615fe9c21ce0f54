// Package hooks is the operator's rules: which webhook starts which action. It
// owns the form of HOOKS_FILE, reads and checks it, and matches webhooks
// against it. It is pure but for [Load]: it must never run an action, open a
// connection or touch the database. The server asks it at receipt, the jobs
// package when a job runs.
package hooks

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/tidwall/match"
)

// Event is what a rule sees of a webhook.
type Event struct {
	Source     string
	Event      string
	DeliveryID string
}

// Hook is one rule.
type Hook struct {
	Name   string `yaml:"name"`
	Source string `yaml:"source"` // a sender's name, or "*" (the default)
	Event  string `yaml:"event"`  // a glob; "*" is the default
	Action Action `yaml:"action"`
}

// Action is what a rule does. One field is set.
type Action struct {
	Exec *Exec `yaml:"exec"`
	Log  *Log  `yaml:"log"`
}

// Exec runs a command of the operator's, with the payload on its standard input.
type Exec struct {
	Argv    []string `yaml:"argv"`
	Timeout Duration `yaml:"timeout"` // 5m when not set
}

// Log writes a line to the app's log and nothing else.
type Log struct{}

// Duration is a time.Duration written as "30s".
type Duration time.Duration

// UnmarshalYAML reads "1m30s".
func (d *Duration) UnmarshalYAML(text []byte) error {
	var s string
	if err := yaml.Unmarshal(text, &s); err != nil {
		return err
	}
	v, err := time.ParseDuration(s)
	if err != nil || v <= 0 {
		return fmt.Errorf("%q is not a duration such as 30s or 5m", s)
	}
	*d = Duration(v)
	return nil
}

// Rules is a checked set of hooks. It never changes.
type Rules struct {
	hooks []Hook
}

// Default is the rules of an app without HOOKS_FILE: every webhook is accepted
// and logged.
func Default() *Rules {
	return &Rules{hooks: []Hook{{Name: "log", Source: "*", Event: "*", Action: Action{Log: &Log{}}}}}
}

// Load reads and checks the file.
func Load(file string) (*Rules, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, fmt.Errorf("read hooks: %w", err)
	}
	rules, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return rules, nil
}

// Parse reads and checks the text of a hooks file.
func Parse(text []byte) (*Rules, error) {
	var file struct {
		Hooks []Hook `yaml:"hooks"`
	}
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil {
		return nil, errors.New(yaml.FormatError(err, false, true))
	}
	seen := map[string]bool{}
	var problems []error
	for i := range file.Hooks {
		h := &file.Hooks[i]
		h.fill()
		if err := h.check(); err != nil {
			problems = append(problems, fmt.Errorf("hook %d (%q): %w", i+1, h.Name, err))
		}
		if seen[h.Name] {
			problems = append(problems, fmt.Errorf("hook %d (%q): the name is taken", i+1, h.Name))
		}
		seen[h.Name] = true
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return &Rules{hooks: file.Hooks}, nil
}

func (h *Hook) fill() {
	if h.Source == "" {
		h.Source = "*"
	}
	if h.Event == "" {
		h.Event = "*"
	}
	if e := h.Action.Exec; e != nil && e.Timeout == 0 {
		e.Timeout = Duration(5 * time.Minute)
	}
}

func (h *Hook) check() error {
	switch {
	case h.Name == "":
		return errors.New("name is missing")
	case h.Action.Exec == nil && h.Action.Log == nil:
		return errors.New("action is missing")
	case h.Action.Exec != nil && (len(h.Action.Exec.Argv) == 0 || h.Action.Exec.Argv[0] == ""):
		return errors.New("argv is empty")
	}
	return nil
}

// Match returns the hooks that the event starts, in the order of the file.
func (r *Rules) Match(e Event) []Hook {
	var found []Hook
	for _, h := range r.hooks {
		if (h.Source == "*" || h.Source == e.Source) && match.Match(e.Event, h.Event) {
			found = append(found, h)
		}
	}
	return found
}

// Lookup returns the hook with that name.
func (r *Rules) Lookup(name string) (Hook, bool) {
	for _, h := range r.hooks {
		if h.Name == name {
			return h, true
		}
	}
	return Hook{}, false
}
