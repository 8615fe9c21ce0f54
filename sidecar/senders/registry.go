package senders

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/goccy/go-yaml"
)

//go:embed schemes.yaml
var schemesText []byte

// coded are the senders, or parts of senders, that a scheme cannot express.
var (
	coded    = map[string]Sender{}
	extended = map[string]func(Sender) Sender{}
)

// register adds a sender that is code alone.
func register(s Sender) {
	name := s.Traits().Name
	if _, twice := coded[name]; twice {
		panic("senders: registered twice: " + name)
	}
	coded[name] = s
}

// extend adds code to the sender of a scheme.
func extend(name string, more func(Sender) Sender) { extended[name] = more }

// registry is made at the first use: reading YAML costs a program that needs no
// sender, such as a probe, more than all else it does.
var registry = sync.OnceValue(func() map[string]Sender {
	all := maps.Clone(coded)
	for name, scheme := range schemes() {
		s, err := scheme.Compile(name)
		if err != nil {
			panic("senders: schemes.yaml: " + name + ": " + err.Error()) // a test compiles them all
		}
		if more, ok := extended[name]; ok {
			s = more(s)
		}
		if _, twice := all[name]; twice {
			panic("senders: registered twice: " + name)
		}
		all[name] = s
	}
	return all
})

var schemes = sync.OnceValue(func() map[string]Scheme {
	all, err := ParseSchemes(schemesText)
	if err != nil {
		panic("senders: schemes.yaml: " + err.Error())
	}
	return all
})

// ParseSchemes reads YAML of names and their schemes. A field that it does not
// know is an error; what the fields say is checked by [Scheme.Compile].
func ParseSchemes(text []byte) (map[string]Scheme, error) {
	all := map[string]Scheme{}
	if err := yaml.UnmarshalWithOptions(text, &all, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("read schemes: %w", err)
	}
	return all, nil
}

// Declared returns the scheme of a built-in sender, and whether it has one. Slack,
// Zoom and Meta do more than their schemes say.
func Declared(name string) (Scheme, bool) {
	scheme, ok := schemes()[name]
	return scheme, ok
}

// Lookup returns the sender with that name.
func Lookup(name string) (Sender, error) {
	if s, ok := registry()[name]; ok {
		return s, nil
	}
	return nil, fmt.Errorf("unknown sender %q: known are %v", name, Names())
}

// Names returns the names of all senders, sorted.
func Names() []string { return slices.Sorted(maps.Keys(registry())) }
