package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// release is what .goreleaser.yaml says of the builds; `scripts/release-check` has
// GoReleaser itself read it.
type release struct {
	Env    []string
	Builds []struct {
		Main, Binary  string
		Goos, Goarch  []string
		Flags         []string
		Ldflags       []string
		Mod_timestamp string
	}
}

func readRelease(t *testing.T) (r release) {
	t.Helper()
	text, err := os.ReadFile(root + "/.goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// Two builds of one source are equal byte for byte, wherever it lies.
func TestBuildsAreEqual(t *testing.T) {
	t.Parallel()
	r := readRelease(t)
	b := r.Builds[0]
	if b.Binary != "sluice" || len(b.Goos)*len(b.Goarch) != 4 || b.Mod_timestamp != "{{ .CommitTimestamp }}" {
		t.Errorf("the release builds %+v", b)
	}
	values := strings.NewReplacer("{{ .Version }}", "1.2.3", "{{ .FullCommit }}", "0123abc")
	var files [2][]byte
	for i := range files {
		out := filepath.Join(t.TempDir(), b.Binary)
		args := append(append([]string{"build"}, b.Flags...), "-ldflags", values.Replace(strings.Join(b.Ldflags, " ")), "-o", out, b.Main)
		say(t, copyOfTree(t), append(r.Env, "GOWORK="), "go", args...)
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = text
		if i == 0 {
			version := say(t, ".", nil, out, "version")
			if want := "1.2.3\ncommit 0123abc\n" + runtime.Version(); !strings.HasPrefix(version, want) {
				t.Errorf("it says %q, want %q", version, want)
			}
		}
	}
	if string(files[0]) != string(files[1]) {
		t.Error("two builds differ")
	}
}

func TestReleaseNotesAreTheChangelogs(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	if err := os.Mkdir(filepath.Join(tree, "scripts"), 0o755); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(root + "/scripts/release-notes")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "scripts/release-notes"), script, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(tree, "CHANGELOG.md"), "# Changelog\n\n## [Unreleased]\n\n- c\n\n## [1.1.0] - 2026-01-02\n\n- b\n\n## [1.0.0] - 2026-01-01\n\n- a\n")
	if out := say(t, tree, nil, "scripts/release-notes", "v1.1.0"); strings.TrimSpace(out) != "- b" {
		t.Errorf("the notes are %q", out)
	}
	cmd := exec.Command("scripts/release-notes", "v9.0.0")
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "no section ## [9.0.0]") {
		t.Errorf("%v: %s", err, out)
	}
}
