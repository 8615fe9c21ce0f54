package config

import (
	"fmt"
	"net/url"
	"strconv"

	"sluice/sidecar/settings"
)

// usePort makes PORT the port of LISTEN_ADDR, where that is unset. Beside an app in
// a container of its own, PORT may be the app's: settings are often shared between
// both. In a process that starts the app itself, PORT is what the platform means.
func (c *Config) usePort(r *settings.Reader, alone bool) {
	if c.Port == 0 || c.Port == c.AppPort() && !alone {
		return
	}
	r.Derive("LISTEN_ADDR", fmt.Sprint(":", c.Port))
	if c.Port != c.AppPort() {
		return
	}
	if r.Given("APP_URL") {
		r.Reject("APP_URL", "must have another port than PORT, where the sidecar listens")
		return
	}
	beside := c.Port + 1
	if beside > 65535 {
		beside = c.Port - 1
	}
	r.Derive("APP_URL", fmt.Sprint("http://127.0.0.1:", beside))
}

// AppPort returns the port of APP_URL, 0 where it can't be told.
func (c *Config) AppPort() int {
	u, err := url.Parse(c.AppURL)
	if err != nil {
		return 0
	}
	if u.Port() == "" && u.Scheme == "http" {
		return 80
	}
	port, _ := strconv.Atoi(u.Port())
	return port
}
