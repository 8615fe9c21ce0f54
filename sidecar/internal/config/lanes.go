package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sluice/sidecar/routes"
	"sluice/sidecar/senders"
)

// withLanes reads LANES, a list of NAME:KEY separated by commas, and gives the routes
// of those names other lane keys than the sender's own. A sender's name is accepted
// without a route, so that one value serves installations with different routes.
func (c *Config) withLanes(list []routes.Route) ([]routes.Route, error) {
	var problems []error
	for item := range strings.SplitSeq(c.Lanes, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		name, text, _ := strings.Cut(item, ":")
		key, err := routes.ParseLaneKey(text)
		if err != nil || !known(list, name) {
			problems = append(problems, fmt.Errorf("LANES must be a list of NAME:KEY, the name that of a route or one of %s, the key a JSON path, header:NAME, form:NAME or %s; it has %q",
				strings.Join(senders.Names(), ", "), routes.NoLaneKey, item))
			continue
		}
		for i := range list {
			if list[i].Name == name {
				list[i].Lane = key
			}
		}
	}
	return list, errors.Join(problems...)
}

// known reports whether there is a route or a sender of that name.
func known(list []routes.Route, name string) bool {
	_, err := senders.Lookup(name)
	return err == nil || slices.ContainsFunc(list, func(r routes.Route) bool { return r.Name == name })
}
