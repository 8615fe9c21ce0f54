// Package actions runs a hook's action: a command, an HTTP request, a write to
// GitHub or Slack. It owns the processes it starts, and leaves none behind, and
// the outgoing connections. It must never decide whether an action runs, retry a
// job or store its outcome: that is up to the jobs package, which calls it. The
// cli calls it to describe actions in `app hooks test`.
package actions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"sluice/app/internal/hooks"
)

// ErrTimeout is in the error of a run that took longer than its timeout.
var ErrTimeout = errors.New("timed out")

// RetryLater is in the error of a run when the server asked to try again later, as
// for a rate limit. The job has not failed.
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

// Outcome is what is stored about a run.
type Outcome struct {
	Action     string `json:"action"`
	ExitCode   *int   `json:"exit_code,omitempty"` // of a command
	Status     int    `json:"status,omitempty"`    // of an HTTP answer
	DurationMS int64  `json:"duration_ms"`
	Output     string `json:"output,omitempty"` // the last part of the output or of the answer's body, valid UTF-8
	Truncated  bool   `json:"truncated,omitempty"`
}

// Config is the access data and the limits of the actions.
type Config struct {
	GitHub  GitHub
	Slack   Slack
	PerHost int               // requests under way to one host at a time
	Secrets map[string]string // by the name that templates use
	Logger  *slog.Logger
}

// Set runs every kind of action. It is safe for concurrent use.
type Set struct {
	client *retryablehttp.Client
	limits *hostLimits
	github *githubClient
	slack  Slack

	secrets map[string]string
	masked  *strings.Replacer // writes *** for their values
}

// New checks the credentials and makes the clients. It does not connect.
func New(c Config) (*Set, error) {
	s := &Set{client: newClient(), limits: newHostLimits(c.PerHost), slack: c.Slack, secrets: c.Secrets}
	var hide []string
	for _, value := range c.Secrets {
		hide = append(hide, value, "***")
	}
	s.masked = strings.NewReplacer(hide...)
	var err error
	if s.github, err = newGitHub(c.GitHub, s.send); err != nil {
		return nil, err
	}
	return s, nil
}

// Missing returns an error that names the setting that a hook's action lacks, or
// nil when it can run.
func (s *Set) Missing(h *hooks.Hook) error {
	for _, name := range h.Action.Secrets() {
		if _, ok := s.secrets[name]; !ok {
			return fmt.Errorf("hook %q uses secret(%q): list %s in SECRETS and set it", h.Name, name, name)
		}
	}
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

// Run runs the hook's action once. It returns when everything that it started has
// ended, at the latest some seconds after ctx's end or the hook's timeout.
func (s *Set) Run(ctx context.Context, h *hooks.Hook, c Call) (Outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.Timeout, fmt.Errorf("%w after %s", ErrTimeout, h.Timeout))
	defer cancel()
	began := time.Now()
	if c.Event != nil {
		c.Event.Secret = s.secret
	}
	out, err := s.run(ctx, h, c)
	out.Output = s.masked.Replace(out.Output)
	out.Action = h.Action.Kind()
	out.DurationMS = time.Since(began).Milliseconds()
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%s: %w", out.Action, context.Cause(ctx))
	}
	return out, err
}

func (s *Set) secret(name string) (string, error) {
	if value, ok := s.secrets[name]; ok {
		return value, nil
	}
	return "", fmt.Errorf("secret %s is not in SECRETS", name)
}

func (s *Set) run(ctx context.Context, h *hooks.Hook, c Call) (Outcome, error) {
	switch a := h.Action; {
	case a.Exec != nil:
		return runExec(ctx, h.Name, a.Exec, c, s.masked)
	case a.HTTP != nil:
		return s.runHTTP(ctx, a.HTTP, c)
	case a.GitHubComment != nil:
		return s.github.comment(ctx, a.GitHubComment, c)
	case a.GitHubStatus != nil:
		return s.github.status(ctx, a.GitHubStatus, c)
	case a.SlackMessage != nil:
		return s.postSlack(ctx, a.SlackMessage, c)
	}
	return Outcome{}, nil // log: the worker's own log lines are enough
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

// answer is an HTTP answer that has been read; the zero value means no answer.
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
