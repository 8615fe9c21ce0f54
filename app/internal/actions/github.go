package actions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"sluice/app/internal/hooks"
)

// GitHub is the app's access to GitHub: a token, or a GitHub App.
type GitHub struct {
	URL          string // https://api.github.com
	Token        string
	AppID        string
	PrivateKey   string // PEM
	Installation string // "" to take it from the payload
}

type sendFunc func(*retryablehttp.Request) (answer, error)

type githubClient struct {
	c    GitHub
	send sendFunc
	app  *appTokens // nil without a GitHub App
}

// githubVersion is the version of GitHub's API that the requests below use.
const githubVersion = "2022-11-28"

func newGitHub(c GitHub, send sendFunc) (*githubClient, error) {
	g := &githubClient{c: c, send: send}
	if c.AppID != "" {
		var err error
		if g.app, err = newAppTokens(c, send); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (g *githubClient) configured() bool { return g.c.Token != "" || g.app != nil }

// Values from a payload must not change the path that they are put into.
var (
	repositoryForm = regexp.MustCompile(`^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$`)
	numberForm     = regexp.MustCompile(`^[0-9]+$`)
	shaForm        = regexp.MustCompile(`^[0-9a-f]{40,64}$`)
)

// comment writes the comment only once: the comment contains a mark. Each attempt
// looks for the mark first, because an earlier one may have been cut off after
// GitHub had stored the comment, and the webhook may have come twice. The comment
// itself is sent once an attempt: after a lost answer only the next look can tell.
func (g *githubClient) comment(ctx context.Context, a *hooks.GitHubComment, c Call) (Outcome, error) {
	r := renderer{event: c.Event}
	repository, issue, text := r.text(a.Repository), r.text(a.Issue), r.text(a.Body)
	switch {
	case r.err != nil:
		return Outcome{}, r.err
	case !repositoryForm.MatchString(repository) || strings.Contains(repository, ".."):
		return Outcome{}, errors.New("repository must be owner/name")
	case !numberForm.MatchString(issue):
		return Outcome{}, errors.New("issue must be a number")
	}
	path := "/repos/" + repository + "/issues/" + issue + "/comments"
	mark := "<!-- sluice:" + c.Event.ID + " -->"
	since := url.QueryEscape(c.Event.ReceivedAt.UTC().Add(-time.Minute).Format(time.RFC3339))
	earlier, err := g.call(ctx, c, http.MethodGet, path+"?per_page=100&since="+since, nil)
	if err != nil {
		return earlier.outcome(), err
	}
	if bytes.Contains(earlier.body, []byte(jsonText(mark))) {
		return Outcome{Status: earlier.status, Output: "written by an earlier attempt"}, nil
	}
	written, err := g.call(sentOnce(ctx), c, http.MethodPost, path, map[string]string{"body": text + "\n\n" + mark})
	return written.outcome(), err
}

// status sets the commit's status; setting it twice is harmless.
func (g *githubClient) status(ctx context.Context, a *hooks.GitHubStatus, c Call) (Outcome, error) {
	r := renderer{event: c.Event}
	repository, sha, state := r.text(a.Repository), r.text(a.SHA), r.text(a.State)
	content := map[string]string{"state": state}
	for name, t := range map[string]hooks.Template{"context": a.Context, "description": a.Description, "target_url": a.TargetURL} {
		if text := r.text(t); text != "" {
			content[name] = text
		}
	}
	switch {
	case r.err != nil:
		return Outcome{}, r.err
	case !repositoryForm.MatchString(repository) || strings.Contains(repository, ".."):
		return Outcome{}, errors.New("repository must be owner/name")
	case !shaForm.MatchString(sha):
		return Outcome{}, errors.New("sha must be a commit's full hash")
	}
	written, err := g.call(ctx, c, http.MethodPost, "/repos/"+repository+"/statuses/"+sha, content)
	return written.outcome(), err
}

// call sends an authenticated request to GitHub's API.
func (g *githubClient) call(ctx context.Context, c Call, method, path string, content any) (answer, error) {
	token := g.c.Token
	if g.app != nil {
		installation, err := g.installation(c.Event)
		if err != nil {
			return answer{}, err
		}
		if token, err = g.app.token(ctx, installation); err != nil {
			return answer{}, err
		}
	}
	return githubRequest(ctx, g.send, method, g.c.URL+path, token, content)
}

// installation returns the configured installation, else the payload's.
func (g *githubClient) installation(e *hooks.Event) (string, error) {
	if g.c.Installation != "" {
		return g.c.Installation, nil
	}
	payload, _ := e.Payload() //nolint:errcheck // without a payload there is no installation
	object, _ := payload.(map[string]any)
	installation, _ := object["installation"].(map[string]any)
	id, ok := installation["id"].(int)
	if !ok {
		return "", errors.New("the payload has no installation; set GITHUB_APP_INSTALLATION_ID")
	}
	return fmt.Sprint(id), nil
}

func githubRequest(ctx context.Context, send sendFunc, method, target, token string, content any) (answer, error) {
	var body any
	if content != nil {
		b, err := json.Marshal(content)
		if err != nil {
			return answer{}, fmt.Errorf("encode request: %w", err)
		}
		body = b
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return answer{}, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", githubVersion)
	req.Header.Set("User-Agent", "sluice-app")
	req.Header.Set("Authorization", "Bearer "+token)
	if content != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return send(req)
}

// jsonText returns s as it is written inside a JSON string.
func jsonText(s string) string {
	b, _ := json.Marshal(s) //nolint:errchkjson // a string always encodes
	return string(b[1 : len(b)-1])
}
