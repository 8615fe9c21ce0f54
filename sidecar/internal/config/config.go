// Package config has the settings of the sidecar: the struct they are read into,
// their descriptions, and the checks that compare two of them. Package settings
// reads them; config reports every problem at once. It must never log or start
// anything. cmd calls it.
package config

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"sluice/sidecar/entra"
	"sluice/sidecar/internal/gate"
	"sluice/sidecar/routes"
	"sluice/sidecar/settings"
)

// Config are the sidecar's settings. Their meanings, defaults and allowed values are
// in table.go and in settings.Shared.
type Config struct {
	settings.Common

	ListenAddr   string          `envconfig:"LISTEN_ADDR"`
	ProbeAddr    string          `envconfig:"PROBE_ADDR"`
	ControlAddr  string          `envconfig:"CONTROL_ADDR"`
	ControlToken settings.Secret `envconfig:"CONTROL_TOKEN"`

	AppURL              string        `envconfig:"APP_URL"`
	AppStays            bool          `envconfig:"APP_STAYS"`
	AppHealthPath       string        `envconfig:"APP_HEALTH_PATH"`
	AppProbeInterval    time.Duration `envconfig:"APP_PROBE_INTERVAL"`
	AppProbeIntervalOff time.Duration `envconfig:"APP_PROBE_INTERVAL_DOWN"`
	AppProbeTimeout     time.Duration `envconfig:"APP_PROBE_TIMEOUT"`
	AppAnswerTimeout    time.Duration `envconfig:"APP_ANSWER_TIMEOUT"`

	TrustedHops int    `envconfig:"TRUSTED_HOPS"`
	Lanes       string `envconfig:"LANES"`

	Wire                   string        `envconfig:"WIRE"`
	HeaderTimeout          time.Duration `envconfig:"HEADER_TIMEOUT"`
	BodyTimeout            time.Duration `envconfig:"BODY_TIMEOUT"`
	BodyMinRate            int64         `envconfig:"BODY_MIN_RATE"`
	IdleTimeout            time.Duration `envconfig:"IDLE_TIMEOUT"`
	MaxConnections         int64         `envconfig:"MAX_CONNECTIONS"`
	HoldMaxRows            int64         `envconfig:"HOLD_MAX_ROWS"`
	HoldMaxBytes           int64         `envconfig:"HOLD_MAX_BYTES"`
	HoldMaxUnverifiedBytes int64         `envconfig:"HOLD_MAX_UNVERIFIED_BYTES"`
	HoldTimeout            time.Duration `envconfig:"HOLD_TIMEOUT"`

	Order             string          `envconfig:"ORDER"`
	CatchupLimit      time.Duration   `envconfig:"CATCHUP_LIMIT"`
	ReplayConcurrency int             `envconfig:"REPLAY_CONCURRENCY"`
	ReplayMaxAttempts int             `envconfig:"REPLAY_MAX_ATTEMPTS"`
	ReplayAwayLimit   time.Duration   `envconfig:"REPLAY_AWAY_LIMIT"`
	BreakerLimit      time.Duration   `envconfig:"BREAKER_LIMIT"`
	ReplayMinBackoff  time.Duration   `envconfig:"REPLAY_MIN_BACKOFF"`
	ReplayMaxBackoff  time.Duration   `envconfig:"REPLAY_MAX_BACKOFF"`
	Resign            bool            `envconfig:"RESIGN"`
	FailedRetention   time.Duration   `envconfig:"FAILED_RETENTION"`
	BufferKey         settings.Secret `envconfig:"BUFFER_KEY"`

	StartupGate         string `envconfig:"STARTUP_GATE"`
	Port                int    `envconfig:"PORT"`
	ReadyPath           string `envconfig:"READY_PATH"`
	ReplicaName         string `envconfig:"REPLICA_NAME"`
	PlatformReplicaName string `envconfig:"CONTAINER_APP_REPLICA_NAME"`
	Revision            string `envconfig:"CONTAINER_APP_REVISION"`

	Routes     []routes.Route    `json:"-"` // WEBHOOK_ROUTES, parsed, with the keys of LANES
	RoutesSum  [sha256.Size]byte `json:"-"` // of ROUTES_FILE, as it was read
	BufferKeys Keys              `json:"-"` // BUFFER_KEY, parsed: AES-256 keys, the first encrypts
}

// Keys are keys that never print.
type Keys [][]byte

// Format hides the keys from every verb.
func (k Keys) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%d keys", len(k)) }

// Load reads the environment. The error has every problem, one per line.
func Load() (*Config, error) {
	c, r := load(false)
	return c, r.Err()
}

// LoadAlone is Load for a process that also starts the app.
func LoadAlone() (*Config, error) {
	c, r := load(true)
	return c, r.Err()
}

// Effective returns the settings in effect, with the senders' secrets that the routes
// need. It returns them even when it returns an error.
func Effective() ([]settings.Value, error) {
	_, r := load(false)
	return r.Values(), r.Err()
}

// WriteDescriptions writes what every setting means, as Markdown.
func WriteDescriptions(w io.Writer) error {
	_, err := io.WriteString(w, settings.NewReader(&Config{}, all).Markdown(all))
	return err
}

// load reads the settings. alone says that no container beside this one has the app.
func load(alone bool) (*Config, *settings.Reader) {
	c := &Config{}
	r := settings.NewReader(c, all)
	r.Read()
	c.usePort(r, alone)
	c.check(r)
	c.readRoutes(r)
	c.BufferKeys = c.parseKeys(r)
	if c.ReplicaName == "" {
		c.ReplicaName = c.PlatformReplicaName
	}
	if c.ReplicaName == "" {
		host, _ := os.Hostname()
		c.ReplicaName = host + c.ListenAddr
	}
	return c, r
}

// check checks settings that depend on each other.
func (c *Config) check(r *settings.Reader) {
	if host, _, err := net.SplitHostPort(c.ControlAddr); err == nil && !c.ControlToken.IsSet() && !isLoopback(host) {
		r.RejectAll(fmt.Errorf("CONTROL_TOKEN is required because CONTROL_ADDR, %q, is not a loopback address", c.ControlAddr))
	}
	// Bodies that are still arriving may take only half of it.
	if c.MaxInflightBytes/2 < c.MaxBodyBytes {
		r.Reject("MAX_INFLIGHT_BYTES", "must be at least twice MAX_BODY_BYTES (%d)", c.MaxBodyBytes)
	}
}

// Exec are the settings of `sidecar exec`, which runs in the app's container.
type Exec struct {
	TerminationGraceSeconds int        `envconfig:"TERMINATION_GRACE_SECONDS"`
	LogLevel                slog.Level `envconfig:"LOG_LEVEL"`
	LogFormat               string     `envconfig:"LOG_FORMAT"`
}

// LoadExec reads the settings of `sidecar exec`.
func LoadExec() (*Exec, error) {
	e := &Exec{}
	r := settings.NewReader(e, all)
	r.Read()
	return e, r.Err()
}

// LoadDatabase reads only the settings of the database, for commands that need no
// others. A url replaces DATABASE_URL.
func LoadDatabase(url string) (*Config, error) {
	var address struct {
		URL settings.Secret `envconfig:"DATABASE_URL"`
	}
	var sign struct {
		Auth string `envconfig:"DATABASE_AUTH"`
	}
	auth := settings.NewReader(&sign, all)
	auth.Read()
	err := auth.Err()
	if address.URL = settings.NewSecret(url); url == "" {
		r := settings.NewReader(&address, all)
		r.Read()
		err = errors.Join(err, r.Err())
	}
	return &Config{Common: settings.Common{DatabaseURL: address.URL, DatabaseAuth: sign.Auth}}, err
}

// ControlAddr returns CONTROL_ADDR, for commands that ask the sidecar.
func ControlAddr() string { return all.Text("CONTROL_ADDR") }

// ProbeAddr returns PROBE_ADDR, for `sidecar probe`.
func ProbeAddr() string { return all.Text("PROBE_ADDR") }

// Grace is the time between the platform's SIGTERM and its SIGKILL.
func (e *Exec) Grace() time.Duration { return settings.Grace(e.TerminationGraceSeconds) }

// Grace is the time between the platform's SIGTERM and its SIGKILL.
func (c *Config) Grace() time.Duration { return settings.Grace(c.TerminationGraceSeconds) }

// DatabasePassword returns a function that gives each new connection its password,
// nil when the password is in the URL.
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
func (c *Config) parseKeys(r *settings.Reader) (keys Keys) {
	for i, text := range routes.Secrets(c.BufferKey.Reveal()) {
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(key) != 32 {
			r.Reject("BUFFER_KEY", "must be keys of 32 bytes in base64, separated by commas; key %d is not (make one with: openssl rand -base64 32)", i+1)
			return nil
		}
		keys = append(keys, key)
	}
	return keys
}

func isPath(text string) bool { return strings.HasPrefix(text, "/") }

func isAddress(text string) bool {
	_, _, err := net.SplitHostPort(text)
	return err == nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
