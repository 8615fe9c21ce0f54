package senders

import (
	"strings"
	"time"
)

// gitlab: https://docs.gitlab.com/user/project/integrations/webhooks/
//
// GitLab sends a shared token in the clear, and, where a signing token
// ("whsec_...") is set, a Standard Webhooks signature as well. Which one counts
// follows from the secret. It never repeats a delivery by itself; one that is
// resent by hand keeps its Idempotency-Key.
type gitlab struct{}

func init() { register(gitlab{}) }

const gitlabToken = "X-Gitlab-Token"

var (
	errGitlabUnsigned = unsigned(gitlabToken)
	errGitlabMismatch = mismatch(gitlabToken)
)

func (gitlab) Traits() Traits {
	return Traits{
		Name:       "gitlab",
		SecretVar:  "GITLAB_WEBHOOK_TOKEN",
		Budget:     8 * time.Second,
		HoldStatus: 200,
		Marks:      gitlabMarks,
		Lane:       gitlabLane,
	}
}

var gitlabMarks = []string{"X-Gitlab-Event", gitlabToken}

func (gitlab) Verify(r Request, secrets []string, now time.Time) error {
	var tokens, signing []string
	for _, secret := range secrets {
		if isSigningToken(secret) {
			signing = append(signing, secret)
		} else {
			tokens = append(tokens, secret)
		}
	}
	if len(signing) > 0 {
		err := verifyStandard(r, webhookFields, signing, now)
		if err == nil || len(tokens) == 0 {
			return err
		}
	}
	if repeated(r.Header, gitlabToken) {
		return errRepeated
	}
	token := r.Header.Get(gitlabToken)
	if token == "" {
		return errGitlabUnsigned
	}
	if !sameAsAny(token, tokens) {
		return errGitlabMismatch
	}
	return nil
}

func isSigningToken(secret string) bool { return strings.HasPrefix(secret, "whsec_") }

func (gitlab) Resign(r Request, secret string, now time.Time) []Field {
	if !isSigningToken(secret) || r.Header.Get(webhookFields.signature) == "" {
		return nil // a token in the clear does not age
	}
	return resignStandard(r, webhookFields, secret, now)
}

func (gitlab) Identify(r Request) Identity {
	// Webhook-Id is the same as Idempotency-Key, and is under the signature.
	id := firstName(r.Header, gitlabIDs)
	return Identity{DeliveryID: id, Event: name(r.Header.Get("X-Gitlab-Event"))}
}

// X-Gitlab-Event-UUID is not among them: webhooks that one webhook sets off share
// it, so that the second would pass for a copy of the first.
var gitlabIDs = []string{webhookFields.id, "Idempotency-Key"}

var gitlabLane = []string{"project.path_with_namespace"}
