// Package settings reads the settings of both programs from the environment; it
// may change with any release, since compatibility is promised for senders and
// drain alone.
//
// It owns the rules that hold for every setting: an empty variable counts as
// unset; a secret may come from the file that NAME_FILE names; every problem is
// listed at once; a secret never prints. It also owns what both programs share:
// the descriptions of their common settings, the default webhook routes and the
// logger. It alone knows envconfig and tint.
//
// It must never decide what a setting is for: each program has a config package
// with the struct that it reads into, the descriptions of its own settings and
// the checks that take two settings. It must never log, set a global logger or
// change the environment.
//
// The config packages of the sidecar and of the app call NewReader; the commands
// of both programs call NewLogger and print Values.
package settings

// Setting describes one environment variable. This is the only place that says
// what it is: the reader, the error texts, `sidecar config`, `app config` and
// the tables in docs are all made from it.
type Setting struct {
	Name     string
	Group    string
	Default  string // what an unset variable counts as
	Unset    string // in words, what an unset variable without a default means
	Required bool
	Template bool // the template for Azure sets it

	// What is allowed. Bounds are written as a value would be.
	Unit    string // of a number
	Min     string
	Max     string
	Above   string // an excluded lower bound
	OneOf   []string
	Valid   func(text string) bool
	Allowed string // in words; needed for a text and with Valid

	Meaning string // Markdown, for whoever operates it
}

// Table is a list of descriptions.
type Table []Setting

func (t Table) find(name string) (Setting, bool) {
	for _, s := range t {
		if s.Name == name {
			return s, true
		}
	}
	return Setting{}, false
}

// Origin says where a value came from.
type Origin string

// The three origins of a value.
const (
	Default     Origin = "default"
	Environment Origin = "environment"
	File        Origin = "file"
)

// Value is a setting as it is in effect, to be shown to people and programs.
type Value struct {
	Name   string `json:"name"`
	Value  string `json:"value"` // *** for a secret
	From   Origin `json:"from"`
	File   string `json:"file,omitempty"` // where From is File
	Secret bool   `json:"secret,omitempty"`

	unset string
}
