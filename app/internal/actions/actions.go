// Package actions does what a hook says: it runs a command, sends a request,
// writes to GitHub or Slack. It owns the processes it starts, and leaves none
// behind, and the outgoing connections. It must never decide whether an action
// runs, retry a job or store its outcome: the jobs package, its only caller
// besides `app hooks test`, does.
package actions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"sluice/app/internal/hooks"
)

// ErrTimeout is in the error of a run that took longer than its timeout.
var ErrTimeout = errors.New("timed out")

// RetryLater is in the error of a run that the other side asked to repeat
// later, as rate limits do. It is no failure of the job.
type RetryLater struct {
	After time.Duration
	Host  string
}

func (e *RetryLater) Error() string {
	return fmt.Sprintf("%s asks to wait %s", e.Host, e.After.Round(time.Second))
}

// Call is one run of an action for one webhook.
type Call struct {
	Event   *hooks.Event
	Payload io.ReadSeeker // the body, byte for byte, at its start
	Size    int64
	Attempt int // how often the job was started, this time included
	Logger  *slog.Logger
}

// Outcome is what is kept of a run.
type Outcome struct {
	Action     string `json:"action"`
	ExitCode   *int   `json:"exit_code,omitempty"` // of a command
	Status     int    `json:"status,omitempty"`    // of an HTTP answer
	DurationMS int64  `json:"duration_ms"`
	Output     string `json:"output,omitempty"` // the tail of what came back, valid UTF-8
	Truncated  bool   `json:"truncated,omitempty"`
}

// Config is what the actions need to reach others.
type Config struct {
	GitHub  GitHub
	Slack   Slack
	PerHost int // requests under way to one host at a time
	Logger  *slog.Logger
}

// Set is every kind of action, ready to run. It may be shared.
type Set struct {
	client *retryablehttp.Client
	limits *hostLimits
	github *githubClient
	slack  Slack
}

// New checks the credentials and makes the clients. It connects to nobody.
func New(c Config) (*Set, error) {
	s := &Set{client: newClient(), limits: newHostLimits(c.PerHost), slack: c.Slack}
	var err error
	if s.github, err = newGitHub(c.GitHub, s.send); err != nil {
		return nil, err
	}
	return s, nil
}

// Missing says which setting a hook's action lacks, nil when it can run.
func (s *Set) Missing(h *hooks.Hook) error {
	switch a := h.Action; {
	case (a.GitHubComment != nil || a.GitHubStatus != nil) && !s.github.configured():
		return fmt.Errorf("hook %q needs GITHUB_TOKEN, or GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY", h.Name)
	case a.SlackMessage != nil && a.SlackMessage.Channel.String() != "" && s.slack.Token == "":
		return fmt.Errorf("hook %q names a channel and needs SLACK_BOT_TOKEN", h.Name)
	case a.SlackMessage != nil && a.SlackMessage.Channel.String() == "" && s.slack.WebhookURL == "":
		return fmt.Errorf("hook %q names no channel and needs SLACK_WEBHOOK_URL", h.Name)
	}
	return nil
}

// Run carries out the hook's action once. It returns when nothing of it is
// left, at the latest some seconds after ctx's end or the hook's timeout.
func (s *Set) Run(ctx context.Context, h *hooks.Hook, c Call) (Outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.Timeout, fmt.Errorf("%w after %s", ErrTimeout, h.Timeout))
	defer cancel()
	began := time.Now()
	out, err := s.run(ctx, h, c)
	out.Action = h.Action.Kind()
	out.DurationMS = time.Since(began).Milliseconds()
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%s: %w", out.Action, context.Cause(ctx))
	}
	return out, err
}

func (s *Set) run(ctx context.Context, h *hooks.Hook, c Call) (Outcome, error) {
	switch a := h.Action; {
	case a.Exec != nil:
		return runExec(ctx, h.Name, a.Exec, c)
	case a.HTTP != nil:
		return s.runHTTP(ctx, a.HTTP, c)
	case a.GitHubComment != nil:
		return s.github.comment(ctx, a.GitHubComment, c)
	case a.GitHubStatus != nil:
		return s.github.status(ctx, a.GitHubStatus, c)
	case a.SlackMessage != nil:
		return s.postSlack(ctx, a.SlackMessage, c)
	}
	return Outcome{}, nil // log: that the job ran is logged
}

// renderer renders templates for one event and remembers the first error.
type renderer struct {
	event *hooks.Event
	err   error
}

func (r *renderer) text(t hooks.Template) string {
	s, err := t.Render(r.event)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("render template: %w", err)
	}
	return s
}

// answer is an HTTP answer that has been read; its zero value is none.
type answer struct {
	status int
	body   []byte // at most answerBytes
}

func (a answer) outcome() Outcome {
	var t tail
	_, _ = t.Write(a.body)
	o := Outcome{Status: a.status}
	o.Output, o.Truncated = t.text()
	return o
}
