// Package config holds the app's settings: the struct that they are read into,
// their descriptions, and the checks that involve more than one setting. Package
// settings reads the environment for it. Invalid settings are an error that lists
// every problem at once. It must never log and never change the environment. The
// cli package calls it.
package config

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"sluice/app/internal/database"
	"sluice/sidecar/routes"
	"sluice/sidecar/settings"
)

// Config has every setting of the app. The meaning, the default and the allowed
// values of each are in table.go and in settings.Shared.
type Config struct {
	settings.Common

	Port             int             `envconfig:"PORT"`
	Listen           string          `envconfig:"LISTEN_HOST"`
	DatabasePooler   string          `envconfig:"DATABASE_POOLER"`
	DatabaseMaxConns int             `envconfig:"DATABASE_MAX_CONNS"`
	ShutdownGraceMS  int             `envconfig:"SHUTDOWN_GRACE_MS"`
	HooksFile        string          `envconfig:"HOOKS_FILE"`
	SecretNames      string          `envconfig:"SECRETS"`
	MaxWorkers       int             `envconfig:"MAX_WORKERS"`
	GitHubAPIURL     string          `envconfig:"GITHUB_API_URL"`
	GitHubToken      settings.Secret `envconfig:"GITHUB_TOKEN"`
	GitHubAppID      string          `envconfig:"GITHUB_APP_ID"`
	GitHubAppKey     settings.Secret `envconfig:"GITHUB_APP_PRIVATE_KEY"`
	GitHubAppInstall string          `envconfig:"GITHUB_APP_INSTALLATION_ID"`
	SlackAPIURL      string          `envconfig:"SLACK_API_URL"`
	SlackBotToken    settings.Secret `envconfig:"SLACK_BOT_TOKEN"`
	SlackWebhookURL  settings.Secret `envconfig:"SLACK_WEBHOOK_URL"`
	HTTPPerHost      int             `envconfig:"HTTP_PER_HOST"`

	Secrets map[string]settings.Secret `json:"-"` // the variables that SECRETS names
	Routes  []routes.Route             `json:"-"` // WEBHOOK_ROUTES or ROUTES_FILE, parsed, without sync routes

	RoutesSum [sha256.Size]byte `json:"-"` // of ROUTES_FILE, as it was read
}

// Grace is how long work under way may take after SIGTERM.
func (c Config) Grace() time.Duration { return time.Duration(c.ShutdownGraceMS) * time.Millisecond }

// Termination is how long the platform waits between SIGTERM and SIGKILL.
func (c Config) Termination() time.Duration { return settings.Grace(c.TerminationGraceSeconds) }

// Database returns how to connect to the database.
func (c Config) Database() database.Options {
	return database.Options{
		URL: c.DatabaseURL.Reveal(), MaxConns: c.DatabaseMaxConns,
		Entra: c.DatabaseAuth == "entra", Pooler: c.DatabasePooler == "transaction",
	}
}

// Revealed returns the secrets that SECRETS names, for the actions.
func (c Config) Revealed() map[string]string {
	texts := make(map[string]string, len(c.Secrets))
	for name, secret := range c.Secrets {
		texts[name] = secret.Reveal()
	}
	return texts
}

// Load reads the settings from the environment. Its error is settings.Problems.
func Load() (Config, error) {
	c, r := load()
	if err := r.Err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// Effective returns the settings in effect, with the senders' secrets that the
// routes need. It returns them also together with an error.
func Effective() ([]settings.Value, error) {
	_, r := load()
	return r.Values(), r.Err()
}

// WriteDescriptions writes the description of every setting, as Markdown.
func WriteDescriptions(w io.Writer) error {
	_, err := io.WriteString(w, settings.NewReader(&Config{}, all).Markdown(all))
	return err
}

// HooksFile returns HOOKS_FILE, for commands that need no other setting.
func HooksFile() string { return all.Text("HOOKS_FILE") }

func load() (Config, *settings.Reader) {
	var c Config
	r := settings.NewReader(&c, all)
	r.Read()
	c.check(r)
	var err error
	c.Routes, err = c.parseRoutes(r.Secret, c.RoutesFile == "" && !r.Given("WEBHOOK_ROUTES"))
	r.RejectAll(err)
	c.Secrets = map[string]settings.Secret{}
	for name := range strings.SplitSeq(c.SecretNames, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		switch c.Secrets[name] = settings.NewSecret(r.Secret(name)); {
		case !nameForm.MatchString(name):
			r.RejectAll(fmt.Errorf("SECRETS: %q is not the name of a variable", name))
		case !c.Secrets[name].IsSet():
			r.RejectAll(fmt.Errorf("%s is required because SECRETS names it", name))
		}
	}
	return c, r
}

var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// check checks settings that depend on each other, and the database's URL.
func (c Config) check(r *settings.Reader) {
	if c.MaxInflightBytes < c.MaxBodyBytes {
		r.Reject("MAX_INFLIGHT_BYTES", "must be at least MAX_BODY_BYTES (%d)", c.MaxBodyBytes)
	}
	if c.DatabaseURL.IsSet() {
		// pgx's own message may repeat the password.
		if _, err := pgxpool.ParseConfig(c.DatabaseURL.Reveal()); err != nil {
			r.Reject("DATABASE_URL", "must be a valid PostgreSQL URL")
		}
	}
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}
