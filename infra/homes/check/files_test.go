package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What compose.yaml mounts as a secret is what its script makes, once.
func TestComposeSecretsAreMade(t *testing.T) {
	dir := t.TempDir()
	secrets := func() string {
		cmd := exec.Command("../compose/secrets")
		cmd.Env = append(os.Environ(), "SECRETS_DIR="+dir, "GITHUB_WEBHOOK_SECRET=hunter2")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	secrets()
	project := composeProject(t)
	for name, secret := range project.Secrets {
		text, err := os.ReadFile(filepath.Join(dir, filepath.Base(secret.File)))
		if err != nil || len(text) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "github_webhook_secret")); string(text) != "hunter2" {
		t.Errorf("the given secret became %q", text)
	}
	password, _ := os.ReadFile(filepath.Join(dir, "postgres_password"))
	if url, _ := os.ReadFile(filepath.Join(dir, "database_url")); len(password) != 64 || !strings.Contains(string(url), ":"+string(password)+"@postgres:5432/") {
		t.Errorf("the URL %s has not the password %s", url, password)
	}
	if out := secrets(); out != "" {
		t.Errorf("the second time it made %s", out)
	}
}

// systemd itself reads the units. Their programs are replaced by one that is
// there, since it looks for them.
func TestUnitsAreVerified(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	dir := t.TempDir()
	args := []string{"verify", "--recursive-errors=yes", "--man=no"}
	for _, name := range []string{"sluice.socket", "sluice.service", "app.service"} {
		text, err := os.ReadFile("../systemd/" + name)
		if err != nil {
			t.Fatal(err)
		}
		own := strings.NewReplacer("/usr/local/bin/sluice", "/bin/true", "/usr/local/bin/app", "/bin/true").Replace(string(text))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(own), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, filepath.Join(dir, name))
	}
	if out, err := exec.Command("systemd-analyze", args...).CombinedOutput(); err != nil || strings.Contains(string(out), dir) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// The socket is the one of the setting, or senders reach nobody; and it stays
// while the service restarts.
func TestSocketIsTheSidecars(t *testing.T) {
	socket, service := readUnit(t, "sluice.socket"), readUnit(t, "sluice.service")
	env := strings.Join(readLines(t, "../systemd/sluice.env"), "\n")
	if !strings.Contains(env, "LISTEN_ADDR=:"+socket.one("ListenStream")+"\n") {
		t.Errorf("the socket listens on %s, the settings are\n%s", socket.one("ListenStream"), env)
	}
	if socket.one("PartOf") != "" || service.one("Requires") != "sluice.socket" || service.one("Environment") == "" {
		t.Error("the socket would stop with the service, or the service start without it")
	}
	if !strings.Contains(service.one("Environment"), "APP_STAYS=true") {
		t.Error("a restart of the service alone would drain the app")
	}
}
