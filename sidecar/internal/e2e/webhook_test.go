package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// scripts/webhook signs as GitHub does, whatever is in the secret.
func TestScriptSendsAWebhook(t *testing.T) {
	t.Parallel()
	const secret = "-a secret; of 'all' \"kinds\" \\"
	for _, program := range []string{"curl", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed")
		}
	}
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"GITHUB_WEBHOOK_SECRET": secret})
	cmd := exec.Command("../../../scripts/webhook", s.url+"/webhooks/github", `{"n":1}`)
	cmd.Env = append(os.Environ(), "GITHUB_WEBHOOK_SECRET="+secret)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), " 200 ") {
		t.Fatalf("%v: %s", err, out)
	}
	if got := a.waitAccepted(1); got[0].body != `{"n":1}` {
		t.Errorf("the app got %q", got[0].body)
	}
	cmd = exec.Command("../../../scripts/webhook", s.url+"/webhooks/github")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "set GITHUB_WEBHOOK_SECRET") {
		t.Errorf("without a secret: %v: %s", err, out)
	}
}
