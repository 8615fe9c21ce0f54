package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sluice/sidecar/routes"
	"sluice/sidecar/senders"
)

// overrideLanes reads LANES, a list of NAME:KEY separated by commas, and gives the
// routes of those names other lane keys than the sender's own. A sender's name is
// accepted without a route, so that one value serves installations with different
// routes.
func (c *Config) overrideLanes() error {
	var problems []error
	for item := range strings.SplitSeq(c.Lanes, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		name, text, _ := strings.Cut(item, ":")
		key, err := routes.ParseLaneKey(text)
		if err != nil || !c.knows(name) {
			problems = append(problems, fmt.Errorf("LANES must be a list of NAME:KEY, the name that of a route or one of %s, the key a JSON path, header:NAME, form:NAME or %s; it has %q",
				strings.Join(senders.Names(), ", "), routes.NoLaneKey, item))
			continue
		}
		for i := range c.Routes {
			if c.Routes[i].Name == name {
				c.Routes[i].Lane = key
			}
		}
	}
	return errors.Join(problems...)
}

// knows reports whether there is a route or a sender of that name.
func (c *Config) knows(name string) bool {
	_, err := senders.Lookup(name)
	return err == nil || slices.ContainsFunc(c.Routes, func(r routes.Route) bool { return r.Name == name })
}
