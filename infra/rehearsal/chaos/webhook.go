package chaos

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"sluice/infra/rehearsal/chaos/receiver"
	"sluice/infra/rehearsal/sender"
)

// Secrets may stand here because nothing outside a run uses them.
const (
	githubSecret  = "chaos-github"
	genericSecret = "chaos-generic"
	sluiceSecret  = "chaos-sluice"
)

// budget is how long the app may take while a sender waits. routes and laneKeys
// are in the notation of the sidecar's settings.
const (
	budget   = 2 * time.Second
	routes   = "/webhooks/github=github+2s,/hooks/*=generic:X-Chaos-Signature+2s"
	laneKeys = "github:repository.full_name,generic:account.id"
)

// kind is a source of webhooks.
type kind struct {
	source, path string
	key          string // the beginning of the body, up to the value that names the lane
	end          string // what closes it
	head         string // fields of every request
	id           string // the field with the delivery id
	signature    string // the field with the signature
	secret       string
	retries      bool
}

var kinds = []kind{
	{
		source: "github", path: "/webhooks/github", key: `{"action":"completed","repository":{"full_name":"`, end: `"},`,
		head: "User-Agent: GitHub-Hookshot/chaos\r\nX-GitHub-Event: workflow_run\r\n",
		id:   "X-GitHub-Delivery", signature: "X-Hub-Signature-256", secret: githubSecret,
	},
	{
		source: "generic", path: "/hooks/chaos", key: `{"type":"chaos","account":{"id":"`, end: `"},`,
		head: "User-Agent: chaos\r\nX-Event-Type: chaos\r\n",
		id:   "Idempotency-Key", signature: "X-Chaos-Signature", secret: genericSecret, retries: true,
	},
}

// lane is one lane of one source.
type lane struct {
	kind *kind
	key  string
}

// name is the lane's name in the sidecars.
func (l lane) name() string { return l.kind.source + "/" + l.key }

// wish is what a webhook asks its app to do.
type wish struct {
	bytes  int
	late   time.Duration
	refuse int
}

// How often a webhook is out of the ordinary: once in so many.
const (
	largeOnce   = 800
	hugeOnce    = 6000
	lateOnce    = 150
	retryOnce   = 150
	refusedOnce = 3000
)

func draw(r *rand.Rand, usual int) wish {
	w := wish{bytes: usual/2 + r.IntN(usual)}
	switch {
	case r.IntN(hugeOnce) == 0:
		w.bytes = 2<<20 + r.IntN(1<<20)
	case r.IntN(largeOnce) == 0:
		w.bytes = 300 << 10
	}
	switch {
	case r.IntN(lateOnce) == 0:
		w.late = budget*3/4 + upTo(r, 3*time.Second)
	case r.IntN(retryOnce) == 0:
		w.refuse = 500
	case r.IntN(refusedOnce) == 0:
		w.refuse = 422
	}
	return w
}

func upTo(r *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(limit)))
}

// request is a webhook that is ready to be posted any number of times.
type request struct{ head, body []byte }

// compose makes a webhook of a lane. Its id is unique in the run.
func compose(l lane, id string, w wish) (sender.Webhook, request) {
	body := make([]byte, 0, w.bytes+256)
	body = append(append(append(body, l.kind.key...), l.key...), l.kind.end...)
	body = fmt.Appendf(body, `"chaos_id":%q,"padding":"`, id)
	for n := w.bytes - len(body); n > 0; n -= len(padding) {
		body = append(body, padding[:min(n, len(padding))]...)
	}
	body = append(body, `"}`...)
	mac := hmac.New(sha256.New, []byte(l.kind.secret))
	mac.Write(body) // never fails

	head := make([]byte, 0, 512)
	head = fmt.Appendf(head, "POST %s HTTP/1.1\r\nHost: hooks.example.com\r\n%sContent-Type: application/json\r\n"+
		"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n", l.kind.path, l.kind.head)
	field := func(name, value string) {
		head = append(append(append(append(head, name...), ": "...), value...), "\r\n"...)
	}
	field("Content-Length", strconv.Itoa(len(body)))
	field(l.kind.id, id)
	field(l.kind.signature, "sha256="+hex.EncodeToString(mac.Sum(nil)))
	field(receiver.IDHeader, id)
	if w.late > 0 {
		field(receiver.LateHeader, strconv.FormatInt(w.late.Milliseconds(), 10))
	}
	if w.refuse > 0 {
		field(receiver.RefuseHeader, strconv.Itoa(w.refuse))
	}
	head = append(head, "\r\n"...)
	return sender.Webhook{
		ID: id, Source: l.kind.source, Lane: l.name(), Delivery: id, Hash: receiver.Sum(body), Bytes: len(body),
	}, request{head, body}
}

var padding = bytes.Repeat([]byte("0123456789abcdefghijklmnopqrstuvwxyz "), 256)
