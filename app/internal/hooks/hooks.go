// Package hooks is the operator's rules: which webhook starts which action. It
// owns the form of HOOKS_FILE (hooks.schema.json), reads and checks it, and
// matches webhooks against it. It is pure but for [Load]: it must never run an
// action, open a connection or touch the database. The server asks it at
// receipt, the jobs package when a job runs, the cli for `app hooks`.
//
// It exports more than 15 names because each kind of action is a type of its
// own here; what a reader needs is [Load], [Rules], [Hook] and [Event].
package hooks

import (
	"fmt"
	"time"

	"github.com/expr-lang/expr/vm"
	"github.com/tidwall/match"
)

// Hook is one rule.
type Hook struct {
	Name           string        `yaml:"name"`
	Source         string        `yaml:"source"` // a sender's name, or "*" (the default)
	Event          string        `yaml:"event"`  // a glob; "*" is the default
	When           string        `yaml:"when"`   // a condition, "" for always
	ConcurrencyKey Template      `yaml:"concurrency_key"`
	Timeout        time.Duration `yaml:"timeout"` // of one attempt
	Retries        Retries       `yaml:"retries"`
	Action         Action        `yaml:"action"`

	when *vm.Program
}

// Retries says how often and when a failed job is tried again: after Backoff,
// then twice that, up to MaxBackoff.
type Retries struct {
	Attempts   int           `yaml:"attempts"` // the first one included
	Backoff    time.Duration `yaml:"backoff"`
	MaxBackoff time.Duration `yaml:"max_backoff"`
}

// What holds where the file says nothing.
const (
	defaultTimeout    = 5 * time.Minute
	defaultAttempts   = 5
	defaultBackoff    = 5 * time.Second
	defaultMaxBackoff = 10 * time.Minute
)

// Pause is how long to wait after the attempt with that number, from 1.
func (r Retries) Pause(attempt int) time.Duration {
	pause := r.Backoff
	for range attempt - 1 {
		if pause *= 2; pause >= r.MaxBackoff {
			break
		}
	}
	return min(pause, r.MaxBackoff)
}

// fill puts the defaults where the file says nothing.
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
	orString(&h.Event, "*")
	orTime(&h.Timeout, defaultTimeout)
	if h.Action.Exec != nil {
		// The command may carry the limit itself.
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

// Default is the rules of an app without HOOKS_FILE: every webhook is accepted
// and logged.
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

// Match returns the hooks that the event starts, in the order of the file. A
// condition that cannot be evaluated for this event does not hold; why is in
// the errors, which are fit for the log.
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
			// Without its key it still runs, in the one lane of those like it.
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
	if h.Source != "*" && h.Source != e.Source || !match.Match(e.Event, h.Event) {
		return false, nil
	}
	if h.when == nil {
		return true, nil
	}
	return holds(h.when, e)
}
