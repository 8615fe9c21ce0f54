package config

import (
	"errors"
	"fmt"
	"strings"

	"sluice/sidecar/routes"
)

// parseRoutes reads what the sidecar reads, leaves out the routes with "sync",
// since the app has no answer to give, and refuses what net/http's mux, which
// serves them, would read otherwise.
func parseRoutes(text string, env func(string) string) ([]routes.Route, error) {
	all, err := routes.Parse(text, env)
	problems := []error{err}
	var served []routes.Route
	for _, r := range all {
		switch {
		case strings.ContainsAny(r.Path, "{} "):
			problems = append(problems, fmt.Errorf("WEBHOOK_ROUTES: %q: the app serves no path with a brace or a space", r))
		case r.Prefix && !strings.HasSuffix(r.Path, "/"):
			problems = append(problems, fmt.Errorf("WEBHOOK_ROUTES: %q: the app serves a * only after a /", r))
		case !r.Sync:
			served = append(served, r)
		}
	}
	return served, errors.Join(problems...)
}
