package config

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
	Path    string // without the trailing * of a prefix
	Prefix  bool   // everything below Path
	Source  string // the sender's name
	Sender  senders.Sender
	Secrets []string // of the sender, empty when none is set
	Verify  []string // secrets of its handshake: the same unless the sender has others for it (Meta)
	Sync    bool     // the answer matters: never held
	Status  int      // acknowledges a hold
	Budget  time.Duration
}

// ParseRoutes reads PATH=SENDER[:HEADER[:VARIABLE]][+OPTION...], separated by
// commas. An option is sync, a status (200, 202, 204) or a budget (2500ms).
// env gives the senders' secrets. The error joins every problem.
func ParseRoutes(text string, env func(string) string) ([]Route, error) {
	var routes []Route
	var problems []error
	seen := map[string]bool{}
	for _, item := range strings.Split(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		r, err := parseRoute(item, env)
		path, _, _ := strings.Cut(item, "=") // "/a" and "/a*" are two
		if err == nil && seen[path] {
			err = errors.New("path is there twice")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("WEBHOOK_ROUTES: %q: %w", item, err))
			continue
		}
		seen[path] = true
		routes = append(routes, r)
	}
	if len(routes) == 0 && len(problems) == 0 {
		problems = append(problems, errors.New("WEBHOOK_ROUTES: names no route, so nothing would ever be held; leave it unset for the default ones"))
	}
	return routes, errors.Join(problems...)
}

func parseRoute(item string, env func(string) string) (Route, error) {
	path, rest, ok := strings.Cut(item, "=")
	if !ok || !strings.HasPrefix(path, "/") {
		return Route{}, errors.New("want /path=sender")
	}
	options := strings.Split(rest, "+")
	sender, err := lookup(options[0])
	if err != nil {
		return Route{}, err
	}
	traits := sender.Traits()
	r := Route{Path: path, Source: traits.Name, Sender: sender, Status: traits.HoldStatus, Budget: traits.Budget}
	if r.Path, r.Prefix = strings.CutSuffix(path, "*"); strings.Contains(r.Path, "*") {
		return Route{}, errors.New("* stands only at the end")
	}
	if traits.SecretVar != "" {
		r.Secrets = splitSecrets(env(traits.SecretVar))
	}
	r.Verify = r.Secrets
	if traits.HandshakeVar != "" {
		r.Verify = splitSecrets(env(traits.HandshakeVar))
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
		return nil, fmt.Errorf("only generic takes a header, not %q", name)
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
			return fmt.Errorf("status %d is none of 200, 202, 204", n)
		}
		r.Status = n
		return nil
	}
	if d, err := time.ParseDuration(o); err == nil && d > 0 {
		r.Budget = d
		return nil
	}
	return fmt.Errorf("option %q is none of sync, a status, a duration", o)
}

// parseLanes reads SOURCE:JSON.PATH, separated by commas.
func parseLanes(text string) (map[string]string, error) {
	keys := map[string]string{}
	var problems []error
	for _, item := range strings.Split(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		source, path, ok := strings.Cut(item, ":")
		if _, err := senders.Lookup(source); !ok || path == "" || err != nil {
			problems = append(problems, fmt.Errorf("LANES: %q: want sender:json.path, the sender one of %v", item, senders.Names()))
			continue
		}
		keys[source] = path
	}
	return keys, errors.Join(problems...)
}
