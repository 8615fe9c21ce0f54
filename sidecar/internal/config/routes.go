package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"

	"sluice/sidecar/routes"
	"sluice/sidecar/settings"
)

// readRoutes reads the routes, with their secrets and lane keys.
func (c *Config) readRoutes(r *settings.Reader) {
	var err error
	switch {
	case c.RoutesFile == "":
		c.Routes, err = routes.Parse(c.WebhookRoutes, routes.Options{
			Secret: r.Secret, AllowUnverified: c.AllowUnverified,
			Close: !r.Given("WEBHOOK_ROUTES"),
		})
	case r.Given("WEBHOOK_ROUTES"):
		err = errors.New("ROUTES_FILE and WEBHOOK_ROUTES are both set; unset one of them")
	default:
		c.RoutesSum, _ = c.SumRoutesFile() // before it is read, so that no change is missed
		c.Routes, err = c.routesIn(r.Secret)
	}
	r.RejectAll(err)
	c.Routes, err = c.withLanes(c.Routes)
	r.RejectAll(err)
}

// SumRoutesFile returns the sum of the text of ROUTES_FILE.
func (c *Config) SumRoutesFile() (sum [sha256.Size]byte, err error) {
	text, err := os.ReadFile(c.RoutesFile)
	if err != nil {
		return sum, err
	}
	return sha256.Sum256(text), nil
}

// ReadRoutesFile reads ROUTES_FILE again, with the secrets as they are now. The
// configuration itself does not change.
func (c *Config) ReadRoutesFile() ([]routes.Route, error) {
	var problems []error
	list, err := c.routesIn(func(name string) string {
		secret, err := settings.LookupSecret(name)
		if err != nil {
			problems = append(problems, err)
		}
		return secret.Reveal()
	})
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, err
	}
	return c.withLanes(list)
}

func (c *Config) routesIn(secret func(string) string) ([]routes.Route, error) {
	text, err := os.ReadFile(c.RoutesFile) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, fmt.Errorf("ROUTES_FILE must name a readable file: %w", err)
	}
	return routes.ParseFile(c.RoutesFile, text, routes.Options{
		Secret: secret, SecretFile: settings.SecretFile, AllowUnverified: c.AllowUnverified,
	})
}
