package azure

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/infra/postgres"
	"sluice/infra/rehearsal"
	"sluice/infra/rehearsal/report"
	"sluice/infra/testkit"
)

// enter is the container runtime of this test: the image's files as a read-only
// root, the image's user, and only the shared directory to write to. The
// platform's own user gives that directory away before it becomes the image's.
const enter = `#!/bin/sh
set -e
root=%[1]s shared=%[2]s
if [ -n "${HOOKS_FILE:-}" ]; then chown -R 65532:65532 "$(dirname "$HOOKS_FILE")"; fi
export root shared
exec unshare --mount sh -ec '
  mount --bind "$root" "$root"
  mount --options remount,ro,bind "$root"
  mount --bind "$shared" "$root$shared"
  mount --bind /proc "$root/proc"
  mount --bind /dev "$root/dev"
  exec chroot --userspec=65532:65532 "$root" "$@"
' enter %[3]s "$@"
`

// rehearseDeploy plays a deploy under load with the built images as containers.
func rehearseDeploy(t *testing.T, sidecar, app string) {
	for _, tool := range []string{"unshare", "chroot", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s here: the images are not run", tool)
		}
	}
	if out, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
		t.Skipf("no mount namespace can be made here: the images are not run\n%s", out)
	}
	shared := t.TempDir()
	for _, dir := range []string{shared, filepath.Dir(shared)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := rehearsal.Defaults()
	c.Scenario, c.Dir = "deploy", shared
	c.Rate, c.Duration = 100, 10*time.Second
	c.Programs = rehearsal.Programs{
		Sidecar:  runner(t, sidecar, shared, "/sidecar"),
		App:      runner(t, app, shared, "/sidecar exec -- /app"),
		Recorder: filepath.Join(shared, "recorder"),
	}
	build := exec.Command("go", "build", "-o", c.Programs.Recorder, "sluice/infra/cmd/recorder")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // it runs in the app's image
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build recorder: %v\n%s", err, out)
	}
	c.DatabaseURL = testkit.Server(t, postgres.Options{}).URL
	r, err := rehearsal.Run(t.Context(), c)
	if err != nil {
		showLogs(t, shared)
		t.Fatal(err)
	}
	var text strings.Builder
	if err := report.Text(&text, r); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + text.String())
	if !r.Good() {
		showLogs(t, shared)
		t.Error("the run was not good")
	}
}

// runner writes the command that runs an image's entrypoint.
func runner(t *testing.T, files, shared, entrypoint string) string {
	t.Helper()
	for _, dir := range []string{shared, "/proc", "/dev"} {
		if err := os.MkdirAll(filepath.Join(files, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "enter")
	script := fmt.Sprintf(enter, quote(files), quote(shared), entrypoint)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func quote(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }

func showLogs(t *testing.T, dir string) {
	logs, err := filepath.Glob(dir + "/*/*.log")
	if err != nil {
		t.Fatal(err)
	}
	for _, log := range logs {
		text := string(readFile(t, log))
		t.Logf("%s:\n%s", filepath.Base(log), text[max(0, len(text)-3000):])
	}
}
