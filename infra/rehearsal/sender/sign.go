package sender

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// Secrets are shared with the receiver. The signatures below follow
// the senders' documentation and share no code with the verification, so that a
// mistake there shows.
type Secrets struct{ GitHub, Slack string }

// kind describes the requests of one source of webhooks.
type kind struct {
	source string
	path   string
	body   func(w *Webhook, key string, mark string) []byte
	header func(w *Webhook, s Secrets, body []byte, now time.Time) http.Header
	// keyPath is the path of the lane key in the body, for LANES.
	keyPath string
	// retries is whether this sender repeats what was not acknowledged.
	retries bool
	timeout time.Duration
}

var kinds = []kind{
	{
		source: "github", path: "/webhooks/github", keyPath: "repository.full_name",
		retries: false, timeout: 10 * time.Second,
		body: func(w *Webhook, key, mark string) []byte {
			return fmt.Appendf(nil, `{%s,"action":"completed","repository":{"full_name":%q}`, mark, "example/"+key)
		},
		header: func(w *Webhook, s Secrets, body []byte, _ time.Time) http.Header {
			return http.Header{
				"User-Agent":          {"GitHub-Hookshot/rehearsal"},
				"X-Github-Event":      {"workflow_run"},
				"X-Github-Delivery":   {w.Delivery},
				"X-Hub-Signature-256": {"sha256=" + sign(s.GitHub, body)},
			}
		},
	},
	{
		source: "slack", path: "/webhooks/slack/events", keyPath: "team_id",
		retries: true, timeout: 3 * time.Second,
		body: func(w *Webhook, key, mark string) []byte {
			return fmt.Appendf(nil, `{%s,"type":"event_callback","event_id":%q,"team_id":%q,"event":{"type":"message"}`,
				mark, w.Delivery, key)
		},
		header: func(w *Webhook, s Secrets, body []byte, now time.Time) http.Header {
			at := strconv.FormatInt(now.Unix(), 10)
			h := http.Header{
				"X-Slack-Request-Timestamp": {at},
				"X-Slack-Signature":         {"v0=" + sign(s.Slack, []byte("v0:"+at+":"), body)},
			}
			if n := len(w.Tries); n > 0 {
				h.Set("X-Slack-Retry-Num", strconv.Itoa(n))
				h.Set("X-Slack-Retry-Reason", "http_error")
			}
			return h
		},
	},
	{
		source: "generic", path: "/hooks/rehearsal", keyPath: "account.id",
		retries: true, timeout: 10 * time.Second,
		body: func(w *Webhook, key, mark string) []byte {
			return fmt.Appendf(nil, `{%s,"account":{"id":%q}`, mark, key)
		},
		header: func(w *Webhook, _ Secrets, _ []byte, _ time.Time) http.Header {
			return http.Header{"Webhook-Id": {w.Delivery}, "Idempotency-Key": {w.Delivery}}
		},
	},
}

func sign(secret string, parts ...[]byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	for _, p := range parts {
		mac.Write(p) // never fails
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// ids returns the source of a webhook's ids: fresh ones, or those of the seed.
func ids(seed uint64, sender, sequence int) func() string {
	if seed == 0 {
		return uuid.NewString
	}
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	binary.LittleEndian.PutUint64(key[8:], uint64(sender))
	binary.LittleEndian.PutUint64(key[16:], uint64(sequence))
	from := rand.NewChaCha8(key)
	return func() string {
		return uuid.Must(uuid.NewRandomFromReader(from)).String() // reading from it never fails
	}
}

// compose makes a new webhook of a kind and its body, size bytes long.
func compose(k kind, id func() string, lane, sender, sequence, size int, work time.Duration) (Webhook, []byte) {
	w := Webhook{ID: id(), Source: k.source, Lane: k.source, Delivery: id()}
	if k.source == "slack" {
		w.Delivery = "Ev" + w.Delivery
	}
	key := "lane-" + strconv.Itoa(lane)
	mark := fmt.Sprintf(`"rehearsal_id":"%s","work_ms":%d,"sender":%d,"sequence":%d`,
		w.ID, work.Milliseconds(), sender, sequence)
	body := k.body(&w, key, mark)
	const open, end = `,"padding":"`, `"}`
	body = append(body, open...)
	// Some of it is not ASCII, as in real payloads.
	for len(body)+len(end) < size {
		if left := size - len(body) - len(end); left >= len("é\\n\u20ac") && len(body)%97 == 0 {
			body = append(body, "é\\n\u20ac"...)
			continue
		}
		body = append(body, 'a'+byte(len(body)%26))
	}
	body = append(body, end...)
	hash := fnv.New64a()
	hash.Write(body) // never fails
	w.Hash, w.Bytes = hash.Sum64(), len(body)
	return w, body
}

// request makes the request of one try.
func request(k kind, w *Webhook, s Secrets, base string, body []byte, now time.Time) (*http.Request, error) {
	req, err := http.NewRequest(http.MethodPost, base+k.path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	// Without GetBody net/http cannot repeat a request, which the ledger would not
	// show.
	req.GetBody = nil
	req.Header = k.header(w, s, body, now)
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}
