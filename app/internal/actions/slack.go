package actions

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/go-retryablehttp"

	"sluice/app/internal/hooks"
)

// Slack is the app's access to Slack: a bot that posts to channels, or one incoming
// webhook.
type Slack struct {
	URL        string // https://slack.com/api
	Token      string
	WebhookURL string
}

// postSlack posts the message. Slack has no idempotency key: when an attempt was
// cut off after Slack had stored the message, the next one posts it again.
func (s *Set) postSlack(ctx context.Context, m *hooks.SlackMessage, c Call) (Outcome, error) {
	r := renderer{event: c.Event}
	content := map[string]string{"text": r.text(m.Text)}
	target, token := s.slack.WebhookURL, ""
	if channel := r.text(m.Channel); channel != "" {
		content["channel"] = channel
		target, token = s.slack.URL+"/chat.postMessage", s.slack.Token
	}
	if ts := r.text(m.ThreadTS); ts != "" {
		content["thread_ts"] = ts
	}
	if r.err != nil {
		return Outcome{}, r.err
	}
	body, err := json.Marshal(content)
	if err != nil {
		return Outcome{}, fmt.Errorf("encode message: %w", err)
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, "POST", target, body)
	if err != nil {
		// The address of an incoming webhook is a secret: keep it out of the error.
		return Outcome{}, fmt.Errorf("make request to Slack: invalid address")
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	a, err := s.send(req)
	if err != nil || token == "" {
		return a.outcome(), err
	}
	// Slack's API answers 200 even when it refuses a message.
	var said struct {
		OK    bool   `json:"ok"`
		Error string `json:"error"`
	}
	if err := json.Unmarshal(a.body, &said); err != nil || !said.OK {
		return a.outcome(), fmt.Errorf("slack refused: %s", said.Error)
	}
	return a.outcome(), nil
}
