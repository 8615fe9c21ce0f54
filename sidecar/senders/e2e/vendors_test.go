package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// vendor is a sender and the app that is built on its SDK. The requests are
// made by the schemes as published, with nothing of package senders: the SDK
// on one side and this file on the other say whether the sidecar is right.
type vendor struct {
	script, routes, path string
	variable, secret     string
	holds                int  // the status that acknowledges a hold
	ages                 bool // the signature expires
	sign                 func(secret, id string, at time.Time) delivery
}

type delivery struct {
	header http.Header
	body   []byte
	path   string // "" for the vendor's
}

var vendors = []vendor{
	{
		script: "slack.mjs", path: "/webhooks/slack/events",
		// Slack's own budget of 2.5 s is short for an app that has just started.
		routes:   "/webhooks/slack/events=slack+10s,/webhooks/slack/commands=slack+sync+10s",
		variable: "SLACK_SIGNING_SECRET", secret: "slack secret", holds: 200, ages: true, sign: signSlackEvent,
	},
	{
		script: "stripe.mjs", path: "/webhooks/stripe", routes: "/webhooks/stripe=stripe",
		variable: "STRIPE_WEBHOOK_SECRET", secret: "whsec_stripe", holds: 200, ages: true, sign: signStripe,
	},
	{
		script: "standard.mjs", path: "/webhooks/standard", routes: "/webhooks/standard=standard",
		variable: "STANDARD_WEBHOOK_SECRET", secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", holds: 202, ages: true, sign: signStandard,
	},
	{
		script: "octokit.mjs", path: "/webhooks/github", routes: "/webhooks/github=github",
		variable: "GITHUB_WEBHOOK_SECRET", secret: "octo secret", holds: 202, sign: signGithub,
	},
}

func sum(secret, text string) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func signSlack(secret, kind, body string, at time.Time) delivery {
	seconds := strconv.FormatInt(at.Unix(), 10)
	return delivery{header: http.Header{
		"Content-Type":              {kind},
		"X-Slack-Request-Timestamp": {seconds},
		"X-Slack-Signature":         {"v0=" + hex.EncodeToString(sum(secret, "v0:"+seconds+":"+body))},
	}, body: []byte(body)}
}

func signSlackEvent(secret, id string, at time.Time) delivery {
	return signSlack(secret, "application/json", fmt.Sprintf(
		`{"type":"event_callback","team_id":"T1","api_app_id":"A1","event_id":%q,"event":{"type":"app_mention","user":"U2","channel":"C1","text":"<@U1> é","ts":"1.0","event_ts":"1.0"}}`, id), at)
}

func signSlackCommand(secret, id string, at time.Time) delivery {
	form := url.Values{"command": {"/deploy"}, "trigger_id": {id}, "team_id": {"T1"}, "user_id": {"U2"}, "channel_id": {"C1"}, "text": {"now & here"}}
	d := signSlack(secret, "application/x-www-form-urlencoded", form.Encode(), at)
	d.path = "/webhooks/slack/commands"
	return d
}

func signStripe(secret, id string, at time.Time) delivery {
	body := fmt.Sprintf(`{"id":%q,"object":"event","type":"invoice.paid","data":{"object":{"name":"é"}}}`, id)
	seconds := strconv.FormatInt(at.Unix(), 10)
	return delivery{header: http.Header{
		"Content-Type":     {"application/json"},
		"Stripe-Signature": {"t=" + seconds + ",v1=" + hex.EncodeToString(sum(secret, seconds+"."+body))},
	}, body: []byte(body)}
}

func signStandard(secret, id string, at time.Time) delivery {
	body := `{"type":"invoice.paid","data":{"name":"é"}}`
	seconds := strconv.FormatInt(at.Unix(), 10)
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		key = []byte(secret)
	}
	return delivery{header: http.Header{
		"Content-Type":      {"application/json"},
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {seconds},
		"Webhook-Signature": {"v1," + base64.StdEncoding.EncodeToString(sum(string(key), id+"."+seconds+"."+body))},
	}, body: []byte(body)}
}

func signGithub(secret, id string, _ time.Time) delivery {
	body := fmt.Sprintf(`{"ref":"refs/heads/main","repository":{"full_name":"octo/hello"},"head_commit":{"message":"é"},"after":%q}`, id)
	return delivery{header: http.Header{
		"Content-Type":        {"application/json"},
		"X-Github-Event":      {"push"},
		"X-Github-Delivery":   {id},
		"X-Hub-Signature-256": {"sha256=" + hex.EncodeToString(sum(secret, body))},
	}, body: []byte(body)}
}
