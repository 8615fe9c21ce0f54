package hooks

import "time"

// Action is what a rule does. Exactly one field is set.
type Action struct {
	Exec          *Exec          `yaml:"exec"`
	HTTP          *HTTP          `yaml:"http"`
	GitHubComment *GitHubComment `yaml:"github_comment"`
	GitHubStatus  *GitHubStatus  `yaml:"github_status"`
	SlackMessage  *SlackMessage  `yaml:"slack_message"`
	Log           *Log           `yaml:"log"`
}

// Exec runs a command.
type Exec struct {
	Argv    []Template          `yaml:"argv"`
	Shell   string              `yaml:"shell"`   // for /bin/sh -c; never a template, or a payload could write commands
	Payload string              `yaml:"payload"` // stdin, file (SLUICE_PAYLOAD_FILE) or none
	Env     map[string]Template `yaml:"env"`
	Inherit []string            `yaml:"inherit"` // variables of the app that the command gets besides the usual ones
	Dir     string              `yaml:"dir"`
	Timeout time.Duration       `yaml:"timeout"` // takes precedence over the hook's
}

// HTTP sends a request: the webhook as it was received, or Body.
type HTTP struct {
	URL     Template            `yaml:"url"`
	Method  string              `yaml:"method"`
	Headers map[string]Template `yaml:"headers"`
	Body    *Template           `yaml:"body"` // nil: the payload and the sender's header fields
	// Forward names header fields with the sender's credentials that are forwarded
	// all the same.
	Forward []string `yaml:"forward"`
}

// GitHubComment writes a comment on an issue or pull request.
type GitHubComment struct {
	Repository Template `yaml:"repository"` // owner/name
	Issue      Template `yaml:"issue"`      // its number
	Body       Template `yaml:"body"`
}

// GitHubStatus sets a commit's status.
type GitHubStatus struct {
	Repository  Template `yaml:"repository"`
	SHA         Template `yaml:"sha"`
	State       Template `yaml:"state"` // error, failure, pending or success
	Context     Template `yaml:"context"`
	Description Template `yaml:"description"`
	TargetURL   Template `yaml:"target_url"`
}

// SlackMessage posts to a channel, or, without one, to SLACK_WEBHOOK_URL.
type SlackMessage struct {
	Channel  Template `yaml:"channel"`
	Text     Template `yaml:"text"`
	ThreadTS Template `yaml:"thread_ts"`
}

// Log writes a line to the app's log and nothing else.
type Log struct{}

// Kind returns the action's name in the file.
func (a Action) Kind() string {
	switch {
	case a.Exec != nil:
		return "exec"
	case a.HTTP != nil:
		return "http"
	case a.GitHubComment != nil:
		return "github_comment"
	case a.GitHubStatus != nil:
		return "github_status"
	case a.SlackMessage != nil:
		return "slack_message"
	}
	return "log"
}

// Secrets returns the names of the secrets that the action's templates use.
func (a *Action) Secrets() []string {
	var names []string
	a.templates(func(t *Template, _ ...string) { names = append(names, t.secrets...) })
	return names
}

// templates calls visit for each template of the action, with its path in the file
// below "action".
func (a *Action) templates(visit func(t *Template, at ...string)) {
	if e := a.Exec; e != nil {
		for i := range e.Argv {
			visit(&e.Argv[i], "exec", "argv", itoa(i))
		}
		visitMap(e.Env, visit, "exec", "env")
	}
	if h := a.HTTP; h != nil {
		visit(&h.URL, "http", "url")
		visitMap(h.Headers, visit, "http", "headers")
		if h.Body != nil {
			visit(h.Body, "http", "body")
		}
	}
	if c := a.GitHubComment; c != nil {
		visit(&c.Repository, "github_comment", "repository")
		visit(&c.Issue, "github_comment", "issue")
		visit(&c.Body, "github_comment", "body")
	}
	if s := a.GitHubStatus; s != nil {
		visit(&s.Repository, "github_status", "repository")
		visit(&s.SHA, "github_status", "sha")
		visit(&s.State, "github_status", "state")
		visit(&s.Context, "github_status", "context")
		visit(&s.Description, "github_status", "description")
		visit(&s.TargetURL, "github_status", "target_url")
	}
	if m := a.SlackMessage; m != nil {
		visit(&m.Channel, "slack_message", "channel")
		visit(&m.Text, "slack_message", "text")
		visit(&m.ThreadTS, "slack_message", "thread_ts")
	}
}

func visitMap(m map[string]Template, visit func(t *Template, at ...string), at ...string) {
	for name, t := range m {
		visit(&t, append(at[:len(at):len(at)], name)...)
		m[name] = t
	}
}
