// Package config reads the sidecar's settings from the environment, once. It
// alone knows envconfig. It refuses what it cannot read and names every problem
// at once; it starts nothing. cmd calls it.
package config

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"

	"sluice/sidecar/entra"
	"sluice/sidecar/internal/gate"
	"sluice/sidecar/routes"
)

// Config are the sidecar's settings. Sizes are bytes; limits of 0 mean none
// where the comment says so.
type Config struct {
	DatabaseURL  Secret `envconfig:"DATABASE_URL"`
	DatabaseAuth string `envconfig:"DATABASE_AUTH" default:"password"` // password or entra

	ListenAddr   string `envconfig:"LISTEN_ADDR" default:":8080"`
	ProbeAddr    string `envconfig:"PROBE_ADDR" default:":8081"`
	ControlAddr  string `envconfig:"CONTROL_ADDR" default:"127.0.0.1:9090"`
	ControlToken Secret `envconfig:"CONTROL_TOKEN"`

	AppURL              string        `envconfig:"APP_URL" default:"http://127.0.0.1:3000"`
	AppHealthPath       string        `envconfig:"APP_HEALTH_PATH" default:"/healthz"`
	AppProbeInterval    time.Duration `envconfig:"APP_PROBE_INTERVAL" default:"1s"`         // while the app is up
	AppProbeIntervalOff time.Duration `envconfig:"APP_PROBE_INTERVAL_DOWN" default:"250ms"` // while it is down
	AppProbeTimeout     time.Duration `envconfig:"APP_PROBE_TIMEOUT" default:"2s"`
	AppAnswerTimeout    time.Duration `envconfig:"APP_ANSWER_TIMEOUT" default:"120s"` // for one answer, also one awaited after the sender was acknowledged

	WebhookRoutes string `envconfig:"WEBHOOK_ROUTES" default:"/webhooks/github=github,/webhooks/slack/events=slack,/webhooks/slack/commands=slack+sync,/webhooks/stripe=stripe,/hooks/*=generic"`
	Lanes         string `envconfig:"LANES"`

	Wire                   string        `envconfig:"WIRE" default:"own"` // own or net/http: whose loop reads plain webhooks
	MaxBodyBytes           int64         `envconfig:"MAX_BODY_BYTES" default:"26214400"`
	MaxInflightBytes       int64         `envconfig:"MAX_INFLIGHT_BYTES" default:"67108864"`
	HeaderTimeout          time.Duration `envconfig:"HEADER_TIMEOUT" default:"10s"`    // for a request's head
	BodyTimeout            time.Duration `envconfig:"BODY_TIMEOUT" default:"60s"`      // for a webhook's body
	BodyMinRate            int64         `envconfig:"BODY_MIN_RATE" default:"240"`     // bytes a second of a webhook's body; 0: any
	IdleTimeout            time.Duration `envconfig:"IDLE_TIMEOUT" default:"300s"`     // of a kept-alive connection
	MaxConnections         int64         `envconfig:"MAX_CONNECTIONS" default:"10000"` // of the public listener; 0: any number
	HoldMaxRows            int64         `envconfig:"HOLD_MAX_ROWS" default:"1000000"`
	HoldMaxBytes           int64         `envconfig:"HOLD_MAX_BYTES" default:"10737418240"`
	HoldMaxUnverifiedBytes int64         `envconfig:"HOLD_MAX_UNVERIFIED_BYTES" default:"1073741824"`
	HoldTimeout            time.Duration `envconfig:"HOLD_TIMEOUT" default:"1500ms"` // for a commit, then 503

	Order             string        `envconfig:"ORDER" default:"lane"` // lane, strict or none
	CatchupLimit      time.Duration `envconfig:"CATCHUP_LIMIT" default:"60s"`
	ReplayConcurrency int           `envconfig:"REPLAY_CONCURRENCY" default:"8"`
	ReplayMaxAttempts int           `envconfig:"REPLAY_MAX_ATTEMPTS" default:"10"`
	ReplayAwayLimit   time.Duration `envconfig:"REPLAY_AWAY_LIMIT" default:"1h"` // for which a healthy app's 503 is no attempt; 0: it always is one
	BreakerLimit      time.Duration `envconfig:"BREAKER_LIMIT" default:"1h"`     // for which an app that accepts nothing makes no dead letters; 0: they are made at once
	ReplayMinBackoff  time.Duration `envconfig:"REPLAY_MIN_BACKOFF" default:"500ms"`
	ReplayMaxBackoff  time.Duration `envconfig:"REPLAY_MAX_BACKOFF" default:"60s"`
	Resign            bool          `envconfig:"RESIGN" default:"false"`
	Retention         time.Duration `envconfig:"RETENTION" default:"168h"`
	FailedRetention   time.Duration `envconfig:"FAILED_RETENTION" default:"0s"` // of dead letters; 0: for ever
	BufferKey         Secrets       `envconfig:"BUFFER_KEY"`
	SluiceSecret      Secret        `envconfig:"SLUICE_SECRET"`

	StartupGate             string `envconfig:"STARTUP_GATE" default:"app"` // app or buffer
	TerminationGraceSeconds int    `envconfig:"TERMINATION_GRACE_SECONDS" default:"330"`
	ReplicaName             string `envconfig:"CONTAINER_APP_REPLICA_NAME"`
	Revision                string `envconfig:"CONTAINER_APP_REVISION"` // whose app is remembered to have been healthy

	LogLevel  string `envconfig:"LOG_LEVEL" default:"info"`
	LogFormat string `envconfig:"LOG_FORMAT"`

	Routes   []routes.Route    `ignored:"true"` // WEBHOOK_ROUTES, parsed
	LaneKeys map[string]string `ignored:"true"` // LANES, parsed: a source's JSON path

	BufferKeys [][]byte `ignored:"true"` // BUFFER_KEY, parsed: AES-256 keys, the first encrypts
}

// Secret is a text that never prints.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Secrets are comma-separated secrets: the first makes, all are accepted.
type Secrets []string

// Decode splits at commas.
func (s *Secrets) Decode(value string) error {
	*s = routes.Secrets(value)
	return nil
}

// String hides the secrets.
func (s Secrets) String() string {
	if len(s) == 0 {
		return ""
	}
	return "***"
}

// LogValue hides the secrets from slog.
func (s Secrets) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Load reads the environment. The error joins every problem, one a line.
func Load() (*Config, error) {
	c := &Config{}
	problems, unread := fill(c)
	problems = append(problems, c.check(unread)...)
	var err error
	if c.Routes, err = routes.Parse(c.WebhookRoutes, os.Getenv); err != nil {
		problems = append(problems, err)
	}
	if c.LaneKeys, err = parseLanes(c.Lanes); err != nil {
		problems = append(problems, err)
	}
	if c.BufferKeys, err = parseKeys(c.BufferKey); err != nil {
		problems = append(problems, err)
	}
	if c.ReplicaName == "" {
		host, _ := os.Hostname()
		c.ReplicaName = host + c.ListenAddr
	}
	return c, errors.Join(problems...)
}

// fill reads field by field, since envconfig stops at the first problem of a
// struct and an operator wants to see all of them.
func fill(c *Config) (problems []error, unread map[string]bool) {
	unread = map[string]bool{}
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := field.Tag.Get("envconfig")
		if name == "" {
			continue
		}
		one := reflect.New(reflect.StructOf([]reflect.StructField{field}))
		if err := envconfig.Process("", one.Interface()); err != nil {
			unread[name] = true
			problems = append(problems, fmt.Errorf("%s: can't read %q as %s", name, shown(field, os.Getenv(name)), kind(field.Type)))
			continue
		}
		v.Field(i).Set(one.Elem().Field(0))
	}
	return problems, unread
}

func shown(f reflect.StructField, value string) string {
	if f.Type == reflect.TypeFor[Secret]() || f.Type == reflect.TypeFor[Secrets]() {
		return "***"
	}
	return value
}

func kind(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "a duration such as 250ms or 5m"
	case reflect.TypeFor[bool]():
		return "true or false"
	}
	return "a whole number"
}

// check holds the settings that could be read against their bounds.
func (c *Config) check(unread map[string]bool) (problems []error) {
	bad := func(name, format string, args ...any) {
		if !unread[name] {
			problems = append(problems, fmt.Errorf(name+": "+format, args...))
		}
	}
	if c.DatabaseURL == "" {
		bad("DATABASE_URL", "is required: postgres://user:password@host:5432/database")
	}
	for name, allowed := range map[string][2]string{
		"DATABASE_AUTH": {c.DatabaseAuth, "password entra"},
		"ORDER":         {c.Order, "lane strict none"},
		"STARTUP_GATE":  {c.StartupGate, "app buffer"},
		"WIRE":          {c.Wire, "own net/http"},
	} {
		if !oneOf(allowed[0], allowed[1]) {
			bad(name, "%q is none of: %s", allowed[0], allowed[1])
		}
	}
	for name, addr := range map[string]string{"LISTEN_ADDR": c.ListenAddr, "PROBE_ADDR": c.ProbeAddr, "CONTROL_ADDR": c.ControlAddr} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			bad(name, "%q is no address: want host:port or :port", addr)
		}
	}
	if host, _, err := net.SplitHostPort(c.ControlAddr); err == nil && c.ControlToken == "" && !isLoopback(host) {
		bad("CONTROL_TOKEN", "is required because CONTROL_ADDR %q is not a loopback address", c.ControlAddr)
	}
	for name, d := range map[string]time.Duration{
		"APP_PROBE_INTERVAL": c.AppProbeInterval, "APP_PROBE_INTERVAL_DOWN": c.AppProbeIntervalOff,
		"APP_PROBE_TIMEOUT": c.AppProbeTimeout, "APP_ANSWER_TIMEOUT": c.AppAnswerTimeout,
		"HEADER_TIMEOUT": c.HeaderTimeout, "BODY_TIMEOUT": c.BodyTimeout, "IDLE_TIMEOUT": c.IdleTimeout,
		"HOLD_TIMEOUT": c.HoldTimeout, "REPLAY_MIN_BACKOFF": c.ReplayMinBackoff, "REPLAY_MAX_BACKOFF": c.ReplayMaxBackoff,
		"RETENTION": c.Retention,
	} {
		if d <= 0 {
			bad(name, "%v must be above 0", d)
		}
	}
	for name, n := range map[string]int64{
		"MAX_BODY_BYTES": c.MaxBodyBytes, "MAX_INFLIGHT_BYTES": c.MaxInflightBytes, "HOLD_MAX_ROWS": c.HoldMaxRows,
		"HOLD_MAX_BYTES": c.HoldMaxBytes, "HOLD_MAX_UNVERIFIED_BYTES": c.HoldMaxUnverifiedBytes,
		"REPLAY_CONCURRENCY": int64(c.ReplayConcurrency), "REPLAY_MAX_ATTEMPTS": int64(c.ReplayMaxAttempts),
	} {
		if n <= 0 {
			bad(name, "%d must be above 0", n)
		}
	}
	if c.ReplayAwayLimit < 0 {
		bad("REPLAY_AWAY_LIMIT", "%v must not be below 0", c.ReplayAwayLimit)
	}
	if c.BreakerLimit < 0 {
		bad("BREAKER_LIMIT", "%v must not be below 0", c.BreakerLimit)
	}
	if c.FailedRetention < 0 {
		bad("FAILED_RETENTION", "%v must not be below 0", c.FailedRetention)
	}
	c.checkDoor(bad)
	if c.TerminationGraceSeconds < 1 {
		bad("TERMINATION_GRACE_SECONDS", "%d must be at least 1", c.TerminationGraceSeconds)
	}
	return problems
}

// checkDoor looks at what bounds the public listener.
func (c *Config) checkDoor(bad func(name, format string, args ...any)) {
	for name, n := range map[string]int64{"BODY_MIN_RATE": c.BodyMinRate, "MAX_CONNECTIONS": c.MaxConnections} {
		if n < 0 {
			bad(name, "%d must not be below 0", n)
		}
	}
	// Bodies that are still arriving get half of it.
	if c.MaxInflightBytes/2 < c.MaxBodyBytes {
		bad("MAX_INFLIGHT_BYTES", "%d must be at least twice MAX_BODY_BYTES (%d)", c.MaxInflightBytes, c.MaxBodyBytes)
	}
}

// longestGrace is as good as none, and sums of it fit a time.Duration.
const longestGrace = 50 * 365 * 24 * time.Hour

// LoadGrace reads TERMINATION_GRACE_SECONDS alone, for the app's container.
func LoadGrace() (time.Duration, error) {
	c := Config{TerminationGraceSeconds: 330}
	if text := os.Getenv("TERMINATION_GRACE_SECONDS"); text != "" {
		var err error
		if c.TerminationGraceSeconds, err = strconv.Atoi(text); err != nil || c.TerminationGraceSeconds < 1 {
			return 0, fmt.Errorf("TERMINATION_GRACE_SECONDS: %q is not a whole number of at least 1", text)
		}
	}
	return c.Grace(), nil
}

// Grace is the time between the platform's SIGTERM and its SIGKILL.
func (c *Config) Grace() time.Duration {
	return time.Duration(min(c.TerminationGraceSeconds, int(longestGrace/time.Second))) * time.Second
}

// DatabasePassword returns what gives each new connection its password, nil
// where that is the URL's own.
func (c *Config) DatabasePassword() (func(context.Context) (string, error), error) {
	if c.DatabaseAuth != "entra" {
		return nil, nil
	}
	password, err := entra.Passwords()
	if err != nil {
		return nil, fmt.Errorf("DATABASE_AUTH=entra: %w", err)
	}
	return password, nil
}

// GateOrder returns ORDER as the gate's own type.
func (c *Config) GateOrder() gate.Order {
	switch c.Order {
	case "strict":
		return gate.Strict
	case "none":
		return gate.None
	}
	return gate.PerLane
}

// parseKeys reads 32-byte keys in base64.
func parseKeys(texts Secrets) (keys [][]byte, err error) {
	for i, text := range texts {
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(key) != 32 {
			return nil, fmt.Errorf("BUFFER_KEY: key %d is not 32 bytes in base64; make one with: openssl rand -base64 32", i+1)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func oneOf(s, list string) bool {
	for _, one := range strings.Fields(list) {
		if s == one {
			return true
		}
	}
	return false
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
