package check

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

const (
	newPath    = "example.com/acme/sluice"
	newVersion = "v0.1.0"
)

// importer is a program of somebody else.
const importer = `package main

import (
	"fmt"
	"log/slog"

	"example.com/acme/sluice/app/drain"
	"example.com/acme/sluice/sidecar/senders"
)

func main() {
	fmt.Println(drain.New(drain.Config{Logger: slog.Default()}).Counts().Draining, senders.VerifyDrain != nil)
}
`

// A renamed tree builds, and another module imports senders and drain from it,
// as it would from a release: through a proxy, without the tree's workspace.
func TestRenamedModulesAreImported(t *testing.T) {
	t.Parallel()
	tree := copyOfTree(t)
	say(t, tree, []string{"GOWORK="}, "scripts/rename-module", "example.net/before", "v0.0.1") // a rename can be repeated
	say(t, tree, []string{"GOWORK="}, "scripts/rename-module", newPath, newVersion)
	if work := say(t, tree, nil, "cat", "go.work"); strings.Contains(work, "before") {
		t.Errorf("go.work still names the path of before:\n%s", work)
	}
	old := regexp.MustCompile(`(?m)^\s*(?:[a-z]+ )?"?sluice/(sidecar|app|infra)[/" ]`)
	for _, file := range strings.Fields(say(t, tree, nil, "git", "ls-files", "*.go", "*go.mod")) {
		text, err := os.ReadFile(filepath.Join(tree, file))
		if err != nil {
			t.Fatal(err)
		}
		if found := old.Find(text); found != nil {
			t.Errorf("%s still has %q", file, found)
		}
	}
	local := []string{"GOFLAGS=", "GOWORK=", "GOPROXY=file://" + moduleCache(t)}
	say(t, tree, local, "go", "build", "-o", t.TempDir(), "./sidecar/cmd/sidecar", "./app/cmd/app")
	say(t, tree, local, "go", "list", "-test", "./sidecar/...", "./app/...", "./infra/...")

	proxy := t.TempDir()
	for _, name := range []string{"infra", "sidecar", "app"} {
		publish(t, proxy, newPath+"/"+name, filepath.Join(tree, name))
	}
	other := t.TempDir()
	write(t, filepath.Join(other, "main.go"), importer)
	write(t, filepath.Join(other, "go.mod"), "module example.org/other\n\ngo 1.26.0\n")
	outside := []string{"GOWORK=off", "GOFLAGS=-mod=mod -modcacherw", "GOSUMDB=off", "GONOSUMDB=*", "GONOSUMCHECK=1", "GOMODCACHE=" + t.TempDir(),
		"GOPROXY=file://" + proxy + ",file://" + moduleCache(t)}
	say(t, other, outside, "go", "get", newPath+"/sidecar@"+newVersion, newPath+"/app@"+newVersion)
	if out := say(t, other, outside, "go", "run", "."); out != "false true\n" {
		t.Errorf("it prints %q", out)
	}
}

func TestRenameRefusesWhatIsNoPath(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"sluice", "v1.0.0"}, {"example.com/a/b/", "v1.0.0"}, {"example.com/a/b", "1.0.0"}, {"example.com/a/b", "v2.0.0"}} {
		out, err := exec.Command(root+"/scripts/rename-module", args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "usage: scripts/rename-module") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}

// copyOfTree copies what git would commit, changes included.
func copyOfTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range strings.Split(say(t, root, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00") {
		text, err := os.ReadFile(filepath.Join(root, file))
		info, statErr := os.Stat(filepath.Join(root, file))
		if file == "" || err != nil || statErr != nil { // removed, and not committed yet
			continue
		}
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), text, info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	say(t, dir, nil, "git", "init", "--quiet")
	say(t, dir, nil, "git", "add", "--all")
	return dir
}

// publish puts a module into a proxy of files (go.dev/ref/mod#goproxy-protocol).
func publish(t *testing.T, proxy, path, dir string) {
	t.Helper()
	at := filepath.Join(proxy, filepath.FromSlash(path), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(at, newVersion+".mod"), string(mod))
	write(t, filepath.Join(at, newVersion+".info"), fmt.Sprintf(`{"Version":%q}`, newVersion))
	write(t, filepath.Join(at, "list"), newVersion+"\n")
	file, err := os.Create(filepath.Join(at, newVersion+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := zip.CreateFromDir(file, module.Version{Path: path, Version: newVersion}, dir); err != nil {
		t.Fatal(err)
	}
}

func moduleCache(t *testing.T) string {
	t.Helper()
	return filepath.Join(strings.TrimSpace(say(t, ".", nil, "go", "env", "GOMODCACHE")), "cache", "download")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// say runs a command in a folder and returns what it prints.
func say(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, errs.String())
	}
	return string(out)
}
