// Package routes reads WEBHOOK_ROUTES, in the same form as the sidecar's: which
// path belongs to which sender. It is pure: the environment is a parameter. The
// config package calls it, the server serves what it returns.
package routes

import (
	"errors"
	"fmt"
	"strings"

	"sluice/sidecar/senders"
)

// Route is one webhook path.
type Route struct {
	Path      string // net/http's form: ends in "/" for everything below it
	Sender    senders.Sender
	Secrets   []string // empty: nothing is verified
	Handshake []string // secrets of its handshake
}

// String keeps the secrets out of what is printed.
func (r Route) String() string { return r.Path + "=" + r.Sender.Traits().Name }

// GoString keeps them out of %#v, too.
func (r Route) GoString() string { return r.String() }

// Parse reads PATH=SENDER[:HEADER[:VARIABLE]][+OPTION...], separated by
// commas; env gives the senders' secrets. Options are the sidecar's business;
// a route with "sync" is left out, since the app has no answer to give. The
// error joins every problem.
func Parse(text string, env func(string) string) ([]Route, error) {
	var routes []Route
	var problems []error
	seen := map[string]bool{}
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		r, sync, err := parse(item, env)
		if err == nil && seen[r.Path] {
			err = errors.New("path is there twice")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("WEBHOOK_ROUTES: %q: %w", item, err))
			continue
		}
		seen[r.Path] = true
		if !sync {
			routes = append(routes, r)
		}
	}
	return routes, errors.Join(problems...)
}

func parse(item string, env func(string) string) (r Route, sync bool, err error) {
	path, rest, ok := strings.Cut(item, "=")
	if !ok || !strings.HasPrefix(path, "/") {
		return r, false, errors.New("want /path=sender")
	}
	path, below := strings.CutSuffix(path, "*")
	if strings.ContainsAny(path, "*{} ") || below && !strings.HasSuffix(path, "/") {
		return r, false, errors.New("* stands only at the end, after a /")
	}
	options := strings.Split(rest, "+")
	sender, err := lookup(options[0])
	if err != nil {
		return r, false, err
	}
	for _, o := range options[1:] {
		sync = sync || o == "sync"
	}
	traits := sender.Traits()
	r = Route{Path: path, Sender: sender, Secrets: Secrets(env(traits.SecretVar))}
	r.Handshake = r.Secrets
	if traits.HandshakeVar != "" {
		r.Handshake = Secrets(env(traits.HandshakeVar))
	}
	return r, sync, nil
}

func lookup(name string) (senders.Sender, error) {
	name, header, ok := strings.Cut(name, ":")
	if !ok {
		return senders.Lookup(name)
	}
	if name != "generic" {
		return nil, fmt.Errorf("only generic takes a header, not %q", name)
	}
	header, variable, ok := strings.Cut(header, ":")
	if !ok {
		variable = "GENERIC_WEBHOOK_SECRET"
	}
	return senders.GenericHMAC(header, variable), nil
}

// Secrets takes apart a list of secrets: two, separated by a comma, during
// rotation.
func Secrets(list string) []string {
	var found []string
	for s := range strings.SplitSeq(list, ",") {
		if s = strings.TrimSpace(s); s != "" {
			found = append(found, s)
		}
	}
	return found
}
