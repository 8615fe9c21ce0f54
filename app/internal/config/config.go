// Package config reads the app's settings from the environment, once, into one
// struct. It refuses what cannot be parsed and lists every problem at once. It
// must never log and never change the environment; the cli package calls it.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/kelseyhightower/envconfig"

	"sluice/app/internal/database"
	"sluice/sidecar/routes"
)

// Secret is a value that never prints.
type Secret string

// String returns *** for any value but the empty one.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString keeps %#v from printing the value.
func (s Secret) GoString() string { return s.String() }

// LogValue keeps the value out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps the value out of JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Config is every setting of the app.
type Config struct {
	Port             int           `envconfig:"PORT" default:"3000"`
	Listen           string        `envconfig:"LISTEN_HOST" default:""`
	DatabaseURL      Secret        `envconfig:"DATABASE_URL" required:"true"`
	DatabaseAuth     string        `envconfig:"DATABASE_AUTH" default:"password"` // password or entra
	DatabasePooler   string        `envconfig:"DATABASE_POOLER"`                  // transaction: PgBouncer in that mode
	DatabaseMaxConns int           `envconfig:"DATABASE_MAX_CONNS" default:"10"`
	ShutdownGraceMS  int           `envconfig:"SHUTDOWN_GRACE_MS" default:"300000"`
	TerminationGrace int           `envconfig:"TERMINATION_GRACE_SECONDS" default:"330"`
	HooksFile        string        `envconfig:"HOOKS_FILE"`
	MaxWorkers       int           `envconfig:"MAX_WORKERS" default:"10"`
	MaxBodyBytes     int64         `envconfig:"MAX_BODY_BYTES" default:"26214400"`
	MaxInflightBytes int64         `envconfig:"MAX_INFLIGHT_BYTES" default:"67108864"`
	Retention        time.Duration `envconfig:"RETENTION" default:"168h"`
	GitHubAPIURL     string        `envconfig:"GITHUB_API_URL" default:"https://api.github.com"`
	SluiceSecret     Secret        `envconfig:"SLUICE_SECRET"`
	GitHubToken      Secret        `envconfig:"GITHUB_TOKEN"`
	GitHubAppID      string        `envconfig:"GITHUB_APP_ID"`
	GitHubAppKey     Secret        `envconfig:"GITHUB_APP_PRIVATE_KEY"`
	GitHubAppInstall string        `envconfig:"GITHUB_APP_INSTALLATION_ID"`
	SlackAPIURL      string        `envconfig:"SLACK_API_URL" default:"https://slack.com/api"`
	SlackBotToken    Secret        `envconfig:"SLACK_BOT_TOKEN"`
	SlackWebhookURL  Secret        `envconfig:"SLACK_WEBHOOK_URL"`
	HTTPPerHost      int           `envconfig:"HTTP_PER_HOST" default:"8"`
	LogLevel         slog.Level    `envconfig:"LOG_LEVEL" default:"info"`
	LogFormat        string        `envconfig:"LOG_FORMAT"`
	WebhookRoutes    string        `envconfig:"WEBHOOK_ROUTES" default:"/webhooks/github=github,/webhooks/slack/events=slack,/webhooks/stripe=stripe,/hooks/*=generic"`

	Routes []routes.Route `ignored:"true" json:"-"` // WEBHOOK_ROUTES, parsed, without the sync ones
}

// Grace is how long work under way may take after SIGTERM.
func (c Config) Grace() time.Duration { return time.Duration(c.ShutdownGraceMS) * time.Millisecond }

// longestGrace, in seconds, is as good as none, and sums of it fit a
// time.Duration.
const longestGrace = 50 * 365 * 24 * 3600

// Termination is how long the platform waits between SIGTERM and SIGKILL.
func (c Config) Termination() time.Duration {
	return time.Duration(min(c.TerminationGrace, longestGrace)) * time.Second
}

// Database says how to reach the database.
func (c Config) Database() database.Options {
	return database.Options{
		URL: string(c.DatabaseURL), MaxConns: c.DatabaseMaxConns,
		Entra: c.DatabaseAuth == "entra", Pooler: c.DatabasePooler == "transaction",
	}
}

// Problems is every reason why the environment was refused.
type Problems []string

func (p Problems) Error() string { return "configuration: " + strings.Join(p, "; ") }

// Load reads the environment. Its error is Problems.
func Load() (Config, error) {
	var c Config
	problems := parse(&c)
	problems = append(problems, c.check()...)
	var err error
	if c.Routes, err = parseRoutes(c.WebhookRoutes, os.Getenv); err != nil {
		problems = append(problems, strings.Split(err.Error(), "\n")...)
	}
	if len(problems) > 0 {
		return Config{}, problems
	}
	return c, nil
}

// parse fills c variable by variable, because envconfig stops at its first
// problem: each field is processed as a struct of its own.
func parse(c *Config) Problems {
	var problems Problems
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := field.Tag.Get("envconfig")
		if name == "" {
			continue
		}
		if value, set := os.LookupEnv(name); set && value == "" {
			// A variable set to nothing counts as not set; envconfig would try
			// to parse it. So its field is read under a name that is never set.
			field.Tag = reflect.StructTag(fmt.Sprintf("envconfig:%q %s", name+"_NOT_SET", withoutName(field.Tag)))
		}
		one := reflect.New(reflect.StructOf([]reflect.StructField{field}))
		if err := envconfig.Process("", one.Interface()); err != nil {
			problems = append(problems, explain(name, err))
			continue
		}
		v.Field(i).Set(one.Elem().Field(0))
	}
	return problems
}

// withoutName returns the tag without its envconfig part, which comes first.
func withoutName(tag reflect.StructTag) string {
	_, rest, _ := strings.Cut(string(tag), " ")
	return rest
}

// explain says what is wrong with one variable without repeating its value,
// which may be a secret.
func explain(name string, err error) string {
	var parse *envconfig.ParseError
	if errors.As(err, &parse) {
		return fmt.Sprintf("%s is not a valid %s", name, kindOf(parse.TypeName))
	}
	return name + " is required"
}

func kindOf(typeName string) string {
	switch typeName {
	case "int", "int64":
		return "number"
	case "time.Duration":
		return `duration (such as "30s")`
	case "slog.Level":
		return "level (debug, info, warn, error)"
	}
	return typeName
}

// check holds the values against their bounds.
func (c Config) check() Problems {
	var p Problems
	bad := func(wrong bool, problem string) {
		if wrong {
			p = append(p, problem)
		}
	}
	bad(c.Port < 0 || c.Port > 65535, "PORT must be between 0 and 65535")
	bad(c.DatabaseAuth != "password" && c.DatabaseAuth != "entra", "DATABASE_AUTH must be password or entra")
	bad(c.DatabasePooler != "" && c.DatabasePooler != "transaction", "DATABASE_POOLER must be transaction or empty")
	bad(c.DatabaseMaxConns < 4, "DATABASE_MAX_CONNS must be at least 4")
	bad(c.ShutdownGraceMS < 0, "SHUTDOWN_GRACE_MS must not be negative")
	bad(c.TerminationGrace < 1, "TERMINATION_GRACE_SECONDS must be at least 1")
	bad(c.MaxWorkers < 1 || c.MaxWorkers > 10_000, "MAX_WORKERS must be between 1 and 10000")
	bad(c.MaxBodyBytes < 1, "MAX_BODY_BYTES must be at least 1")
	bad(c.MaxInflightBytes < c.MaxBodyBytes, "MAX_INFLIGHT_BYTES must be at least MAX_BODY_BYTES")
	bad(c.Retention < 24*time.Hour, "RETENTION must be at least 24h")
	bad(c.LogFormat != "" && c.LogFormat != "json" && c.LogFormat != "text", "LOG_FORMAT must be json or text")
	bad(c.HTTPPerHost < 1, "HTTP_PER_HOST must be at least 1")
	bad(!validURL(c.GitHubAPIURL), "GITHUB_API_URL is not a valid URL")
	bad(!validURL(c.SlackAPIURL), "SLACK_API_URL is not a valid URL")
	bad(c.SlackWebhookURL != "" && !validURL(string(c.SlackWebhookURL)), "SLACK_WEBHOOK_URL is not a valid URL")
	if c.DatabaseURL != "" {
		// pgx's own message may repeat the password.
		_, err := pgxpool.ParseConfig(string(c.DatabaseURL))
		bad(err != nil, "DATABASE_URL is not a valid PostgreSQL URL")
	}
	return p
}

func validURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}
