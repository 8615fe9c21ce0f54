package config

import (
	"sluice/sidecar/routes"
	"sluice/sidecar/settings"
)

// readRoutes reads the routes, with their secrets and lane keys.
func (c *Config) readRoutes(r *settings.Reader) {
	var err error
	c.Routes, err = routes.Parse(c.WebhookRoutes, routes.Options{
		Secret: r.Secret, AllowUnverified: c.AllowUnverified,
		Close: !r.Given("WEBHOOK_ROUTES"),
	})
	r.RejectAll(err)
	r.RejectAll(c.overrideLanes())
}
