package settings

import (
	"log/slog"
	"time"
)

// defaultRoutes is WEBHOOK_ROUTES where it is unset. The app, given the same
// list, leaves the routes with sync out. Nobody has written these routes down, so
// one without its secret is closed rather than an error.
const defaultRoutes = "/webhooks/github=github,/webhooks/slack/events=slack,/webhooks/slack/commands=slack+sync,/webhooks/stripe=stripe"

// Common are the settings that both programs read. Each embeds them in its own
// settings.
type Common struct {
	DatabaseURL             Secret        `envconfig:"DATABASE_URL"`
	DatabaseAuth            string        `envconfig:"DATABASE_AUTH"`
	WebhookRoutes           string        `envconfig:"WEBHOOK_ROUTES"`
	RoutesFile              string        `envconfig:"ROUTES_FILE"`
	AllowUnverified         bool          `envconfig:"ALLOW_UNVERIFIED"`
	SluiceSecret            Secret        `envconfig:"SLUICE_SECRET"`
	MaxBodyBytes            int64         `envconfig:"MAX_BODY_BYTES"`
	MaxInflightBytes        int64         `envconfig:"MAX_INFLIGHT_BYTES"`
	Retention               time.Duration `envconfig:"RETENTION"`
	TerminationGraceSeconds int           `envconfig:"TERMINATION_GRACE_SECONDS"`
	LogLevel                slog.Level    `envconfig:"LOG_LEVEL"`
	LogFormat               string        `envconfig:"LOG_FORMAT"`
}

// Shared describes Common. These settings have the same value in both containers.
var Shared = Table{
	{
		Name: "DATABASE_URL", Group: "Database", Required: true, Template: true,
		Allowed: "a URL such as postgres://user:password@host:5432/database",
		Meaning: "The PostgreSQL database. With Entra it has no password and is no secret.",
	},
	{
		Name: "DATABASE_AUTH", Group: "Database", Default: "password", Template: true, OneOf: []string{"password", "entra"},
		Meaning: "How to sign in: with the URL's password, or with tokens of the platform's identity.",
	},
	{
		Name: "WEBHOOK_ROUTES", Group: "Webhooks", Default: defaultRoutes,
		Allowed: "a list of `PATH=SENDER[+OPTION...]`",
		Meaning: "Which paths are webhooks, and whose: [contract.md](contract.md#routes). The app leaves out `sync` routes, since it has no answer for them, and takes a `*` only after a `/`.",
	},
	{
		Name: "ROUTES_FILE", Group: "Webhooks", Allowed: "the path of a file", Unset: "`WEBHOOK_ROUTES`",
		Meaning: "The routes as [YAML](routes.md), in place of `WEBHOOK_ROUTES`. It is read again when it changes, and at SIGHUP.",
	},
	{
		Name: "ALLOW_UNVERIFIED", Group: "Webhooks", Default: "false",
		Meaning: "Let routes without a secret take webhooks from anybody. For trying things out; `+unverified` says it for one route.",
	},
	{
		Name: "SLUICE_SECRET", Group: "Webhooks", Allowed: "one secret, or `new,old` while it is changed",
		Meaning: "Signs what the sidecar hands to the app, and its `POST /drain`. With it the app accepts what the sidecar verified, however late, and lets nobody else begin the drain.",
	},
	{
		Name: "MAX_BODY_BYTES", Group: "Webhooks", Default: "26214400", Unit: "bytes", Min: "1",
		Meaning: "Larger bodies get 413.",
	},
	{
		Name: "MAX_INFLIGHT_BYTES", Group: "Webhooks", Default: "67108864", Unit: "bytes", Min: "1",
		Meaning: "Bodies in memory; beyond it 503. The sidecar wants at least twice `MAX_BODY_BYTES`, since bodies that are still arriving get half of it; the app wants at least `MAX_BODY_BYTES`.",
	},
	{
		Name: "RETENTION", Group: "Webhooks", Default: "168h", Min: "24h",
		Meaning: "How long completed webhooks, and the app's receipts and payloads, are kept. At least a day, since for so long the app knows a repetition by the sender's delivery id.",
	},
	{
		Name: "TERMINATION_GRACE_SECONDS", Group: "Shutdown", Default: "330", Unit: "seconds", Min: "1", Template: true,
		Meaning: "What the platform leaves between SIGTERM and SIGKILL. The template takes it from `terminationGracePeriodSeconds`.",
	},
	{
		Name: "LOG_LEVEL", Group: "Log", Default: "info",
		Meaning: "The least important lines that are logged.",
	},
	{
		Name: "LOG_FORMAT", Group: "Log", Unset: "tint on a terminal, else json", OneOf: []string{"tint", "json", "text"},
		Meaning: "`json` is for programs; `tint` is for people, with colours on a terminal; `text` is another name of `tint`.",
	},
}

// longestGrace is as good as none, and sums of it fit a time.Duration.
const longestGrace = 50 * 365 * 24 * time.Hour

// Grace returns TERMINATION_GRACE_SECONDS as a duration.
func Grace(seconds int) time.Duration {
	return time.Duration(min(seconds, int(longestGrace/time.Second))) * time.Second
}
