package hooks

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Advice returns what a file that was written for an earlier release may rely on and
// no longer has, one sentence each. script returns the text of a script, "" if there
// is none that can be read.
func (r *Rules) Advice(script func(file string) string) []string {
	var found []string
	for _, h := range r.hooks {
		for _, reason := range h.advice(script) {
			found = append(found, fmt.Sprintf("hook %q: %s", h.Name, reason))
		}
	}
	return found
}

// tokenSenders prove who they are by a field with a credential, which http does not
// forward.
var tokenSenders = []string{"gitlab", "okta", "telegram"}

func (h *Hook) advice(script func(file string) string) []string {
	var found []string
	if h.Action.Exec != nil && h.unsaid {
		found = append(found, "only verified webhooks start exec; an unverified route needs require_verified: false")
	}
	if a := h.Action.HTTP; a != nil && a.Body == nil && len(a.Forward) == 0 && slices.Contains(tokenSenders, h.Source) {
		found = append(found, "http does not forward the field with "+h.Source+"'s credential; name it in forward if the receiver checks it")
	}
	if h.Action.Exec != nil {
		found = append(found, h.Action.Exec.advice(script)...)
	}
	return found
}

func (e *Exec) advice(script func(file string) string) []string {
	used := variables(e.script(script))
	var found, lacking []string
	fields := false
	for _, name := range used {
		_, set := e.Env[name]
		switch {
		case set || slices.Contains(e.Inherit, name) || slices.Contains(given, name):
		case name == "SLUICE_PAYLOAD_FILE" && e.Payload != "file":
			found = append(found, "SLUICE_PAYLOAD_FILE is set with payload: file alone")
		case strings.HasPrefix(name, "SLUICE_PAYLOAD_"):
			fields = fields || name != "SLUICE_PAYLOAD_FILE"
		case !strings.HasPrefix(name, "SLUICE_"):
			lacking = append(lacking, name)
		}
	}
	if len(lacking) > 0 {
		found = append(found, fmt.Sprintf("the command uses %s, which it only gets from env or inherit", strings.Join(lacking, ", ")))
	}
	if fields {
		found = append(found, `SLUICE_PAYLOAD_* are the payload's first 200 values; env: {NAME: "{{payload.member}}"} is there in any case`)
	}
	return found
}

// given are variables that a command has, or that its shell sets.
var given = []string{
	"PATH", "HOME", "LANG", "TZ", "TMPDIR", "TRACEPARENT",
	"PWD", "OLDPWD", "IFS", "PPID", "UID", "EUID", "RANDOM", "SECONDS", "LINENO", "HOSTNAME", "OPTARG", "OPTIND", "REPLY", "SHELL", "PS4",
}

// script returns the text that a shell would read, as far as it is known.
func (e *Exec) script(read func(file string) string) string {
	if e.Shell != "" {
		return e.Shell
	}
	if shell := path.Base(e.Argv[0].source); shell != "sh" && shell != "bash" && shell != "dash" {
		return read(e.Argv[0].source)
	}
	for i, arg := range e.Argv[1:] {
		if strings.HasPrefix(arg.source, "-") && strings.HasSuffix(arg.source, "c") && i+2 < len(e.Argv) {
			return e.Argv[i+2].source
		}
		if !strings.HasPrefix(arg.source, "-") {
			return read(arg.source)
		}
	}
	return ""
}

var (
	usedIn = regexp.MustCompile(`\$\{?([A-Z][A-Z0-9_]+)`)
	setIn  = regexp.MustCompile(`(?m)(?:^|[\s;&|(])(?:export +|local +|readonly +)?([A-Z][A-Z0-9_]+)=|\bfor +([A-Z][A-Z0-9_]+) +in\b|\bread +(?:-\w+ +)*([A-Z][A-Z0-9_]+)`)
)

// variables returns the names in upper case that a shell script uses and does not set
// itself.
func variables(script string) []string {
	var names, own []string
	for _, m := range setIn.FindAllStringSubmatch(script, -1) {
		own = append(own, m[1:]...)
	}
	for _, m := range usedIn.FindAllStringSubmatch(script, -1) {
		if !slices.Contains(names, m[1]) && !slices.Contains(own, m[1]) {
			names = append(names, m[1])
		}
	}
	return names
}
