package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"

	"sluice/sidecar/routes"
	"sluice/sidecar/settings"
)

// parseRoutes parses the same text as the sidecar. It leaves out routes with
// "sync", because the app has no answer of its own to give, and refuses paths to
// which net/http's mux would give another meaning. A route of the default list may
// lack its secret, and any other where the sidecar verifies: it is closed.
func (c *Config) parseRoutes(secret func(string) string, isDefault bool) ([]routes.Route, error) {
	all, err := c.readRoutes(routes.Options{
		Secret: secret, SecretFile: settings.SecretFile, AllowUnverified: c.AllowUnverified,
		Close: isDefault || c.SluiceSecret.IsSet(),
	})
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

// readRoutes reads ROUTES_FILE, or WEBHOOK_ROUTES where it is unset.
func (c *Config) readRoutes(o routes.Options) ([]routes.Route, error) {
	if c.RoutesFile == "" {
		return routes.Parse(c.WebhookRoutes, o)
	}
	text, err := os.ReadFile(c.RoutesFile)
	if err != nil {
		return nil, fmt.Errorf("ROUTES_FILE must name a readable file: %w", err)
	}
	c.RoutesSum = sha256.Sum256(text)
	return routes.ParseFile(c.RoutesFile, text, o)
}

// ReadRoutesFile reads ROUTES_FILE again, with the secrets as they are now.
func (c Config) ReadRoutesFile() ([]routes.Route, error) {
	var problems []error
	list, err := c.parseRoutes(func(name string) string {
		secret, err := settings.LookupSecret(name)
		problems = append(problems, err)
		return secret.Reveal()
	}, false)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, err
	}
	return list, nil
}
