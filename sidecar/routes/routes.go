// Package routes reads WEBHOOK_ROUTES: which path belongs to which sender, and
// how its webhooks are acknowledged.
//
// It owns the syntax of that variable, which has the same value in both containers.
// It is pure: the environment is a parameter. It must never read the environment
// itself, serve requests or print a secret. The config packages of the sidecar and
// of the app call it.
package routes

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/sidecar/senders"
)

// Route is one webhook path of WEBHOOK_ROUTES.
type Route struct {
	Path             string // without the trailing * of a prefix
	Prefix           bool   // everything below Path
	Source           string // the sender's name
	Sender           senders.Sender
	Secrets          []string      // of the sender; when empty, nothing is verified
	HandshakeSecrets []string      // the same, unless the sender has its own for the handshake (Meta)
	Sync             bool          // the sender needs the app's answer: never held
	Status           int           // acknowledges a held webhook: 200, 202 or 204
	Budget           time.Duration // how long the app may take before the sender must be answered
}

// String is the route without its secrets.
func (r Route) String() string {
	if r.Prefix {
		return r.Path + "*=" + r.Source
	}
	return r.Path + "=" + r.Source
}

// GoString is String, so that %#v does not print the secrets.
func (r Route) GoString() string { return r.String() }

// Parse reads PATH=SENDER[:HEADER[:VARIABLE]][+OPTION...], separated by commas.
// An option is sync, a status (200, 202, 204) or a budget (2500ms). env gives
// the senders' secrets. The error joins every problem, one a line.
func Parse(text string, env func(string) string) ([]Route, error) {
	var routes []Route
	var problems []error
	seen := map[string]bool{}
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		r, err := parse(item, env)
		path, _, _ := strings.Cut(item, "=") // "/a" and "/a*" are two paths
		if err == nil && seen[path] {
			err = errors.New("must not repeat a path")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("WEBHOOK_ROUTES: %q: %w", item, err))
			continue
		}
		seen[path] = true
		routes = append(routes, r)
	}
	if len(routes) == 0 && len(problems) == 0 {
		problems = append(problems, errors.New("WEBHOOK_ROUTES: must have a route, else no webhook would be held; leave it unset for the default routes"))
	}
	return routes, errors.Join(problems...)
}

func parse(item string, env func(string) string) (Route, error) {
	path, rest, ok := strings.Cut(item, "=")
	switch {
	case !ok || !strings.HasPrefix(path, "/"):
		return Route{}, errors.New("must be /path=sender")
	case IsDrain(path):
		return Route{}, errors.New("must not be /drain, which only the sidecar may request")
	}
	options := strings.Split(rest, "+")
	sender, err := lookup(options[0])
	if err != nil {
		return Route{}, err
	}
	traits := sender.Traits()
	r := Route{Path: path, Source: traits.Name, Sender: sender, Status: traits.HoldStatus, Budget: traits.Budget}
	if r.Path, r.Prefix = strings.CutSuffix(path, "*"); strings.Contains(r.Path, "*") {
		return Route{}, errors.New("must have * only at the end of the path")
	}
	if traits.SecretVar != "" {
		r.Secrets = Secrets(env(traits.SecretVar))
	}
	r.HandshakeSecrets = r.Secrets
	if traits.HandshakeVar != "" {
		r.HandshakeSecrets = Secrets(env(traits.HandshakeVar))
	}
	for _, o := range options[1:] {
		if err := r.option(o); err != nil {
			return Route{}, err
		}
	}
	return r, nil
}

func lookup(name string) (senders.Sender, error) {
	name, header, ok := strings.Cut(name, ":")
	if !ok {
		return senders.Lookup(name)
	}
	if name != "generic" {
		return nil, fmt.Errorf("must not have a header for %q; only generic takes one", name)
	}
	header, variable, ok := strings.Cut(header, ":")
	if !ok {
		variable = "GENERIC_WEBHOOK_SECRET"
	}
	return senders.GenericHMAC(header, variable), nil
}

func (r *Route) option(o string) error {
	if o == "sync" {
		r.Sync = true
		return nil
	}
	if n, err := strconv.Atoi(o); err == nil {
		if n != 200 && n != 202 && n != 204 {
			return fmt.Errorf("status must be 200, 202 or 204; it is %d", n)
		}
		r.Status = n
		return nil
	}
	if d, err := time.ParseDuration(o); err == nil && d > 0 {
		r.Budget = d
		return nil
	}
	return fmt.Errorf("option must be sync, a status or a duration; it is %q", o)
}

// Secrets splits a list of secrets at its commas; there are two while one replaces
// the other.
func Secrets(list string) []string {
	var found []string
	for s := range strings.SplitSeq(list, ",") {
		if s = strings.TrimSpace(s); s != "" {
			found = append(found, s)
		}
	}
	return found
}
