package config

import (
	"errors"
	"fmt"
	"strings"

	"sluice/sidecar/routes"
)

// parseRoutes parses the same text as the sidecar. It leaves out routes with
// "sync", because the app has no answer of its own to give, and refuses paths to
// which net/http's mux would give another meaning.
func parseRoutes(text string, open bool, env func(string) string) ([]routes.Route, error) {
	all, err := routes.Parse(text, routes.Options{Secret: env, AllowUnverified: open, Close: true})
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
