// Package hooks holds the operator's rules: which webhook starts which action. It
// owns the format of HOOKS_FILE (hooks.schema.json), reads and checks the file,
// and matches webhooks against the rules. Only [Load] reads a file; otherwise the
// package is pure. It must never run an action, open a connection or use the
// database. The server calls it when a webhook arrives, the jobs package when a
// job runs, and the cli for `app hooks`.
//
// It exports more than 15 names because each kind of action is a type of its
// own here. Start with [Load], [Rules], [Hook] and [Event].
package hooks

import (
	"errors"
	"fmt"
	"time"

	"github.com/expr-lang/expr/vm"
	"github.com/tidwall/match"
)

// Hook is one rule.
type Hook struct {
	Name   string `yaml:"name"`
	Source string `yaml:"source"` // a sender's name, or "*" (the default)
	Route  string `yaml:"route"`  // a route's name, or "*" (the default)
	Event  string `yaml:"event"`  // a glob; "*" is the default
	When   string `yaml:"when"`   // a condition, "" for always
	// RequireVerified says that only a verified webhook starts the hook; nil is
	// true for exec.
	RequireVerified *bool         `yaml:"require_verified"`
	ConcurrencyKey  Template      `yaml:"concurrency_key"`
	Timeout         time.Duration `yaml:"timeout"` // of one attempt
	Retries         Retries       `yaml:"retries"`
	Action          Action        `yaml:"action"`

	when   *vm.Program
	unsaid bool // the file does not set require_verified
}

// Retries says how often and when a failed job is tried again: after Backoff,
// then after twice as long each time, up to MaxBackoff.
type Retries struct {
	Attempts   int           `yaml:"attempts"` // the first one included
	Backoff    time.Duration `yaml:"backoff"`
	MaxBackoff time.Duration `yaml:"max_backoff"`
}

// Defaults of fields that the file does not set.
const (
	defaultTimeout    = 5 * time.Minute
	defaultAttempts   = 5
	defaultBackoff    = 5 * time.Second
	defaultMaxBackoff = 10 * time.Minute
)

// Pause returns how long to wait after an attempt; the first one is 1.
func (r Retries) Pause(attempt int) time.Duration {
	pause := r.Backoff
	for range attempt - 1 {
		if pause *= 2; pause >= r.MaxBackoff {
			break
		}
	}
	return min(pause, r.MaxBackoff)
}

// fill sets the defaults of fields that the file does not set.
func (h *Hook) fill() {
	orString := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	orTime := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	orString(&h.Source, "*")
	orString(&h.Route, "*")
	orString(&h.Event, "*")
	if h.RequireVerified == nil {
		isCommand := h.Action.Exec != nil
		h.RequireVerified, h.unsaid = &isCommand, true
	}
	orTime(&h.Timeout, defaultTimeout)
	if h.Action.Exec != nil {
		// The command may have a timeout of its own.
		if h.Action.Exec.Timeout > 0 {
			h.Timeout = h.Action.Exec.Timeout
		}
		orString(&h.Action.Exec.Payload, "stdin")
	}
	if h.Action.HTTP != nil {
		orString(&h.Action.HTTP.Method, "POST")
	}
	if h.Retries.Attempts == 0 {
		h.Retries.Attempts = defaultAttempts
	}
	orTime(&h.Retries.Backoff, defaultBackoff)
	orTime(&h.Retries.MaxBackoff, defaultMaxBackoff)
	h.Retries.MaxBackoff = max(h.Retries.MaxBackoff, h.Retries.Backoff)
}

// Rules is a checked set of hooks. It never changes and may be shared.
type Rules struct {
	hooks []*Hook
}

// Default returns the rules of an app without HOOKS_FILE: every webhook is
// accepted and logged.
func Default() *Rules {
	h := &Hook{Name: "log", Action: Action{Log: &Log{}}}
	h.fill()
	return &Rules{hooks: []*Hook{h}}
}

// All returns the hooks in the order of the file.
func (r *Rules) All() []*Hook { return r.hooks }

// Lookup returns the hook with that name.
func (r *Rules) Lookup(name string) (*Hook, bool) {
	for _, h := range r.hooks {
		if h.Name == name {
			return h, true
		}
	}
	return nil, false
}

// Match is a hook that an event starts.
type Match struct {
	Hook *Hook
	Key  string // its concurrency key, "" for none
}

// ErrUnverified is in the problem of a hook that did not start because the webhook
// was not verified.
var ErrUnverified = errors.New("requires a verified webhook")

// Match returns the hooks that the event starts, in the order of the file. A
// condition that cannot be evaluated for this event counts as false, and an unverified
// webhook does not start a hook that requires a verified one. The errors say why; they are safe to log.
func (r *Rules) Match(e *Event) ([]Match, []error) {
	var found []Match
	var problems []error
	for _, h := range r.hooks {
		holds, err := h.matches(e)
		if err != nil {
			problems = append(problems, fmt.Errorf("hook %q: %w", h.Name, err))
		}
		if !holds {
			continue
		}
		key, err := h.ConcurrencyKey.Render(e)
		if err != nil {
			// It still runs, one after another with others whose key failed.
			problems = append(problems, fmt.Errorf("hook %q: concurrency_key: %w", h.Name, err))
			key = "?"
		}
		if key != "" {
			key = h.Name + "\x1f" + key
		}
		found = append(found, Match{Hook: h, Key: key})
	}
	return found, problems
}

func (h *Hook) matches(e *Event) (bool, error) {
	if h.Source != "*" && h.Source != e.Source || h.Route != "*" && h.Route != e.Route || !match.Match(e.Event, h.Event) {
		return false, nil
	}
	if h.when != nil {
		if ok, err := holds(h.when, e); !ok {
			return false, err
		}
	}
	if *h.RequireVerified && !e.Verified {
		return false, ErrUnverified
	}
	return true, nil
}
