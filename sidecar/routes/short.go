package routes

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/sidecar/senders"
)

// Parse reads the short form: PATH=SENDER[:HEADER[:VARIABLE]][+OPTION...], separated
// by commas. An option is sync, retry, unverified, name=NAME, a status (200, 202,
// 204) or a budget (2500ms). The error joins every problem, one a line.
func Parse(text string, o Options) ([]Route, error) {
	s := &set{Options: o, variables: map[string]read{}}
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		r, err := s.parse(item)
		if err == nil {
			err = s.add(r)
		}
		if err != nil {
			s.problems = append(s.problems, fmt.Errorf("WEBHOOK_ROUTES: %q: %w", item, err))
		}
	}
	if len(s.routes) == 0 && len(s.problems) == 0 {
		s.problems = append(s.problems, errors.New("WEBHOOK_ROUTES: must have a route, else no webhook would be held; leave it unset for the default routes"))
	}
	return s.routes, errors.Join(s.problems...)
}

func (s *set) parse(item string) (r Route, err error) {
	path, rest, ok := strings.Cut(item, "=")
	if !ok || !strings.HasPrefix(path, "/") {
		return r, errors.New("must be /path=sender")
	}
	if err := r.setPath(path); err != nil {
		return r, err
	}
	options := strings.Split(rest, "+")
	if r.Sender, err = lookup(options[0]); err != nil {
		return r, err
	}
	traits := r.Sender.Traits()
	r.Name, r.Status, r.Budget, r.Lane = traits.Name, traits.HoldStatus, traits.Budget, naturalLane(r.Sender)
	for _, o := range options[1:] {
		if err := r.option(o); err != nil {
			return r, err
		}
	}
	if r.Sync && r.Retry {
		return r, errors.New("must not be sync and retry: a sync route is never held")
	}
	return r, s.secure(&r)
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
	switch o {
	case "sync":
		r.Sync = true
		return nil
	case "retry":
		r.Retry = true
		return nil
	case "unverified":
		r.Unverified = true
		return nil
	}
	if name, ok := strings.CutPrefix(o, "name="); ok {
		if r.Name = name; !names.MatchString(name) {
			return fmt.Errorf("name %s; it is %q", nameRule, name)
		}
		return nil
	}
	if n, err := strconv.Atoi(o); err == nil {
		return r.setStatus(n)
	}
	if d, err := time.ParseDuration(o); err == nil && d > 0 {
		r.Budget = d
		return nil
	}
	return fmt.Errorf("option must be sync, retry, unverified, name=NAME, a status or a duration; it is %q", o)
}
