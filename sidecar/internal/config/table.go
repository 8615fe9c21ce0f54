package config

import (
	"slices"

	"sluice/sidecar/settings"
)

// all describes every setting of the sidecar.
var all = slices.Concat(settings.Shared, own)

const hostPort = "host:port or :port"

// own describes the settings that only the sidecar has.
var own = settings.Table{
	{Name: "LISTEN_ADDR", Group: "Listeners", Default: ":8080", Template: true, Allowed: hostPort, Valid: isAddress,
		Meaning: "The public listener. Where it is unset and the platform sets `PORT`, it is `:` and that number, unless `APP_URL` has that port."},
	{Name: "PROBE_ADDR", Group: "Listeners", Default: ":8081", Template: true, Allowed: hostPort, Valid: isAddress,
		Meaning: "Probes and `/metrics`."},
	{Name: "CONTROL_ADDR", Group: "Listeners", Default: "127.0.0.1:9090", Template: true, Allowed: hostPort, Valid: isAddress,
		Meaning: "The control API."},
	{Name: "CONTROL_TOKEN", Group: "Listeners", Allowed: "any text",
		Meaning: "What callers of the control API have to send. Required where `CONTROL_ADDR` is not a loopback address."},
	{Name: "HEADER_TIMEOUT", Group: "Listeners", Default: "10s", Above: "0s",
		Meaning: "For the head of a request."},
	{Name: "BODY_TIMEOUT", Group: "Listeners", Default: "60s", Above: "0s",
		Meaning: "For the body of a webhook."},
	{Name: "BODY_MIN_RATE", Group: "Listeners", Default: "240", Unit: "bytes a second", Min: "0",
		Meaning: "Of a webhook's body, over any 10 s in which it is not whole; slower ones get 408. 0: only `BODY_TIMEOUT` counts."},
	{Name: "IDLE_TIMEOUT", Group: "Listeners", Default: "300s", Above: "0s",
		Meaning: "After which a kept-alive connection without a request is closed."},
	{Name: "MAX_CONNECTIONS", Group: "Listeners", Default: "10000", Min: "0",
		Meaning: "Open at the public listener; 0: any number. At the limit the longest idle one is closed for a new one; if none is idle, the new one gets 503."},
	{Name: "WIRE", Group: "Listeners", Default: "own", OneOf: []string{"own", "net/http"},
		Meaning: "Who reads plain webhooks: the sidecar's own loop, or net/http as for everything else, at about twice the CPU ([ADR 1](adr/0001-two-ingress-loops.md))."},

	{Name: "APP_URL", Group: "The app", Default: "http://127.0.0.1:3000", Template: true, Allowed: "a URL such as http://host:port",
		Meaning: "Where the app listens."},
	{Name: "APP_STAYS", Group: "The app", Default: "false",
		Meaning: "The app outlives this sidecar: when it ends, it does not tell the app to drain and does not wait until the app is gone. For a sidecar that is restarted alone ([systemd](homes/systemd.md))."},
	{Name: "APP_HEALTH_PATH", Group: "The app", Default: "/healthz", Allowed: "a path",
		Meaning: "What the sidecar asks whether the app is there."},
	{Name: "APP_PROBE_INTERVAL", Group: "The app", Default: "1s", Above: "0s",
		Meaning: "Between two probes while the app is there."},
	{Name: "APP_PROBE_INTERVAL_DOWN", Group: "The app", Default: "250ms", Above: "0s",
		Meaning: "Between two probes while it is away."},
	{Name: "APP_PROBE_TIMEOUT", Group: "The app", Default: "2s", Above: "0s",
		Meaning: "For one probe."},
	{Name: "APP_ANSWER_TIMEOUT", Group: "The app", Default: "120s", Above: "0s",
		Meaning: "For one answer of the app, also after the sender was acknowledged."},
	{Name: "STARTUP_GATE", Group: "The app", Default: "app", OneOf: []string{"app", "buffer"},
		Meaning: "When `/startupz` turns good: once the app has been healthy, or once webhooks can be held."},

	{Name: "TRUSTED_HOPS", Group: "Listeners", Default: "0", Min: "0", Max: "16",
		Meaning: "Proxies in front of the sidecar that append to `X-Forwarded-For`; the entry before theirs is the address that a route's `networks` are compared with. 1 on Azure Container Apps."},

	{Name: "HOLD_TIMEOUT", Group: "Holding", Default: "1500ms", Above: "0s",
		Meaning: "For a commit; then 503."},
	{Name: "HOLD_MAX_ROWS", Group: "Holding", Default: "1000000", Min: "1",
		Meaning: "Webhooks in the queue; beyond it 503."},
	{Name: "HOLD_MAX_BYTES", Group: "Holding", Default: "10737418240", Unit: "bytes", Min: "1",
		Meaning: "Size of the queue; beyond it 503."},
	{Name: "HOLD_MAX_UNVERIFIED_BYTES", Group: "Holding", Default: "1073741824", Unit: "bytes", Min: "1",
		Meaning: "The same for webhooks without a checked signature."},
	{Name: "BUFFER_KEY", Group: "Holding", Unset: "bodies are stored as they are", Allowed: "AES-256 keys: 32 bytes in base64, separated by commas",
		Meaning: "The first key encrypts held bodies, all of them decrypt: [Rotating BUFFER_KEY](operations.md#rotating-buffer_key)."},
	{Name: "FAILED_RETENTION", Group: "Holding", Default: "0s", Min: "0s",
		Meaning: "How long `failed` webhooks are kept; 0: for ever."},

	{Name: "ORDER", Group: "Order and replay", Default: "lane", OneOf: []string{"lane", "strict", "none"},
		Meaning: "The order of webhooks in a lane: [contract.md](contract.md#order)."},
	{Name: "LANES", Group: "Order and replay", Unset: "each sender's [own key](senders.md)", Allowed: "a list of `NAME:KEY`, the key a JSON path, `header:NAME`, `form:NAME` or `-`",
		Meaning: "Other keys that divide the webhooks of a route, by its name, into lanes; `-`: one lane."},
	{Name: "CATCHUP_LIMIT", Group: "Order and replay", Default: "60s",
		Meaning: "A lane whose backlog has not shrunk for so long passes new webhooks on beside it; 0: never."},
	{Name: "REPLAY_CONCURRENCY", Group: "Order and replay", Default: "8", Min: "1",
		Meaning: "Lanes that are replayed side by side."},
	{Name: "REPLAY_MAX_ATTEMPTS", Group: "Order and replay", Default: "10", Min: "1",
		Meaning: "After which a held webhook is `failed`."},
	{Name: "REPLAY_MIN_BACKOFF", Group: "Order and replay", Default: "500ms", Above: "0s",
		Meaning: "Pause after the first attempt; it doubles after each further one."},
	{Name: "REPLAY_MAX_BACKOFF", Group: "Order and replay", Default: "60s", Above: "0s",
		Meaning: "The longest pause between two attempts."},
	{Name: "REPLAY_AWAY_LIMIT", Group: "Order and replay", Default: "1h", Min: "0s",
		Meaning: "For which a healthy app's 503 is no attempt; 0: it always is one."},
	{Name: "BREAKER_LIMIT", Group: "Order and replay", Default: "1h", Min: "0s",
		Meaning: "For which an app that refuses everything makes no dead letters; 0: they are made at once."},
	{Name: "RESIGN", Group: "Order and replay", Default: "false",
		Meaning: "Sign afresh at replay, for libraries that refuse old timestamps."},

	{Name: "REPLICA_NAME", Group: "Set by the platform", Unset: "`CONTAINER_APP_REPLICA_NAME`", Allowed: "any text",
		Meaning: "The replica's name, such as the pod's."},
	{Name: "READY_PATH", Group: "Listeners", Allowed: "a path", Unset: "none", Valid: isPath,
		Meaning: "A path of the public listener that answers GET as `/readyz` does, for platforms that route by one, such as Render and Fly. It is taken from the app."},
	{Name: "PORT", Group: "Set by the platform", Unset: "`LISTEN_ADDR`", Min: "1", Max: "65535",
		Meaning: "Where the platform sends requests, in place of `LISTEN_ADDR`. `sidecar run` gives the app the port of `APP_URL` as its own `PORT`."},
	{Name: "CONTAINER_APP_REPLICA_NAME", Group: "Set by the platform", Unset: "host name and `LISTEN_ADDR`", Allowed: "any text",
		Meaning: "The same, as Azure Container Apps sets it."},
	{Name: "CONTAINER_APP_REVISION", Group: "Set by the platform", Allowed: "any text",
		Meaning: "Once its app has been healthy, `STARTUP_GATE` is `buffer` for replacement replicas of the revision."},
}
