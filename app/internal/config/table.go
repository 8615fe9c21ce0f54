package config

import (
	"slices"

	"sluice/sidecar/settings"
)

// all describes every setting of the app.
var all = slices.Concat(settings.Shared, own)

const httpURL = "an http or https URL"

// own describes the settings that only the app has.
var own = settings.Table{
	{Name: "PORT", Group: "Listener and database", Default: "3000", Template: true, Min: "0", Max: "65535",
		Meaning: "The port on which the app listens; 0: any free port."},
	{Name: "LISTEN_HOST", Group: "Listener and database", Unset: "every address", Allowed: "an address or a host name",
		Meaning: "The address on which the app listens."},
	{Name: "DATABASE_MAX_CONNS", Group: "Listener and database", Default: "10", Unit: "connections", Min: "4",
		Meaning: "Connections to PostgreSQL."},
	{Name: "DATABASE_POOLER", Group: "Listener and database", Unset: "no pooler", OneOf: []string{"transaction"},
		Meaning: "`transaction` behind PgBouncer in that mode: no statement is prepared, and jobs start at the next poll (200 ms) because there are no notifications."},
	{Name: "SHUTDOWN_GRACE_MS", Group: "Shutdown", Default: "300000", Template: true, Unit: "milliseconds", Min: "0",
		Meaning: "How long the drain waits for requests and jobs before it extends once. The template takes it from `shutdownGraceMs`."},

	{Name: "HOOKS_FILE", Group: "Jobs", Unset: "every webhook is accepted and logged", Allowed: "a file's path",
		Meaning: "The rules: which webhook starts which action."},
	{Name: "SECRETS", Group: "Jobs", Unset: "none", Allowed: "names of variables, separated by commas",
		Meaning: "What `secret(\"NAME\")` in a hook's action may use. Each name is a variable, or `NAME_FILE` the file with its value."},
	{Name: "MAX_WORKERS", Group: "Jobs", Default: "10", Min: "1", Max: "10000",
		Meaning: "Jobs that run at the same time."},
	{Name: "HTTP_PER_HOST", Group: "Jobs", Default: "8", Min: "1",
		Meaning: "Outgoing requests to one host at the same time."},

	{Name: "GITHUB_API_URL", Group: "GitHub and Slack", Default: "https://api.github.com", Allowed: httpURL, Valid: isURL,
		Meaning: "GitHub's API."},
	{Name: "GITHUB_TOKEN", Group: "GitHub and Slack", Allowed: "a token",
		Meaning: "For actions on GitHub. Or use a GitHub App: the next three settings."},
	{Name: "GITHUB_APP_ID", Group: "GitHub and Slack", Allowed: "an app's id",
		Meaning: "The id of the GitHub App."},
	{Name: "GITHUB_APP_PRIVATE_KEY", Group: "GitHub and Slack", Allowed: "a key in PEM",
		Meaning: "Its private key."},
	{Name: "GITHUB_APP_INSTALLATION_ID", Group: "GitHub and Slack", Unset: "the payload's", Allowed: "an installation's id",
		Meaning: "Its installation."},
	{Name: "SLACK_API_URL", Group: "GitHub and Slack", Default: "https://slack.com/api", Allowed: httpURL, Valid: isURL,
		Meaning: "Slack's API."},
	{Name: "SLACK_BOT_TOKEN", Group: "GitHub and Slack", Allowed: "a token",
		Meaning: "For `slack_message` with a channel."},
	{Name: "SLACK_WEBHOOK_URL", Group: "GitHub and Slack", Allowed: httpURL, Valid: isURL,
		Meaning: "For `slack_message` without a channel."},
}
