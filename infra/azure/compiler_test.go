package azure

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the compiled template and the snapshots anew")

const (
	root     = "../.."
	template = root + "/bicep/main.bicep"
	compiled = root + "/bicep/main.json"
)

// deployedAs is where and with which images a snapshot is taken.
var deployedAs = []string{"--subscription-id", "00000000-0000-0000-0000-000000000000",
	"--resource-group", "sluice", "--location", "westeurope"}

var snapshotEnv = []string{
	"SLUICE_APP_IMAGE=example.azurecr.io/sluice/app:1.0",
	"SLUICE_SIDECAR_IMAGE=example.azurecr.io/sluice/sidecar:1.0",
}

func parameterFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{root + "/bicep/*.bicepparam", "testdata/*.bicepparam"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("no parameter file like %s (%v)", pattern, err)
		}
		files = append(files, found...)
	}
	return files
}

func snapshotOf(parameters string) string {
	return strings.TrimSuffix(parameters, ".bicepparam") + ".snapshot.json"
}

// findCompiler looks where a user or a build has it, or returns "".
func findCompiler() string {
	if path := os.Getenv("BICEP"); path != "" {
		return path
	}
	if path, err := exec.LookPath("bicep"); err == nil {
		return path
	}
	config := os.Getenv("AZURE_CONFIG_DIR")
	if home, err := os.UserHomeDir(); config == "" && err == nil {
		config = filepath.Join(home, ".azure")
	}
	for _, path := range []string{
		filepath.Join(config, "bin", "bicep"),
		filepath.Join(root, "..", "shared", "tools", "bicep"),
	} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

func compiler(t *testing.T) string {
	t.Helper()
	path := findCompiler()
	if path == "" {
		t.Skip("no Bicep compiler (BICEP, PATH, the Azure CLI's): the committed outputs are checked, not whether they are up to date")
	}
	return path
}

func bicep(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), compiler(t), args...)
	// Nothing of the caller's environment may get into a parameter file.
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "SLUICE_") && !strings.HasSuffix(name, "_SECRET") && name != "BUFFER_KEY" {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	cmd.Env = append(cmd.Env, snapshotEnv...)
	cmd.Env = append(cmd.Env, "DOTNET_TieredPGO=0") // no run is long enough to gain by a profile of itself
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// sameCompiler says whether the compiler here is the one that wrote main.json.
// Another one may know newer rules and newer versions of an API.
func sameCompiler(t *testing.T) bool {
	t.Helper()
	version, _, err := bicep(t, "--version")
	if err != nil {
		t.Fatal(err)
	}
	generator := value[map[string]any](t, readJSON(t, compiled), "metadata", "_generator")
	written, _, _ := strings.Cut(generator["version"].(string), " ")
	return strings.Contains(version, " "+strings.Join(strings.Split(written, ".")[:3], ".")+" ")
}

func TestTemplateAndParametersHaveNoWarning(t *testing.T) {
	if !sameCompiler(t) {
		t.Skip("another version of the compiler than main.json was written with: lint not judged")
	}
	// Few patterns: each start compiles the template anew.
	for _, pattern := range []string{root + "/bicep/**/*.bicep*", "testdata/*.bicepparam"} {
		stdout, stderr, err := bicep(t, "lint", "--pattern", pattern)
		if findings := strings.TrimSpace(stdout + stderr); err != nil || findings != "" {
			t.Errorf("lint %s: %v\n%s", pattern, err, findings)
		}
	}
}

func TestTemplateIsFormatted(t *testing.T) {
	if !sameCompiler(t) {
		t.Skip("another version of the compiler than main.json was written with: format not judged")
	}
	written, copied := os.DirFS(root+"/bicep"), t.TempDir()
	if err := os.CopyFS(copied, written); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := bicep(t, "format", "--pattern", copied+"/**/*.bicep*"); err != nil {
		t.Fatalf("format: %v\n%s", err, stderr)
	}
	err := fs.WalkDir(written, ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasPrefix(filepath.Ext(path), ".bicep") {
			return err
		}
		before, err := fs.ReadFile(written, path)
		if err != nil {
			return err
		}
		after, err := os.ReadFile(filepath.Join(copied, path))
		if !bytes.Equal(before, after) {
			t.Errorf("%s is not as `bicep format` writes it", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCompiledTemplateIsUpToDate(t *testing.T) {
	fresh := filepath.Join(t.TempDir(), "main.json")
	if _, stderr, err := bicep(t, "build", template, "--outfile", fresh); err != nil || stderr != "" {
		t.Fatalf("build: %v\n%s", err, stderr)
	}
	if *update {
		replace(t, compiled, fresh)
	}
	want, got := readJSON(t, fresh), readJSON(t, compiled)
	dropGenerator(want)
	dropGenerator(got)
	if !reflect.DeepEqual(want, got) {
		t.Error("bicep/main.json is not what bicep/main.bicep gives: run `go test ./azure -update`")
	}
}

func TestSnapshotsAreUpToDate(t *testing.T) {
	for _, file := range parameterFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			if *update {
				_, stderr, err := bicep(t, append([]string{"snapshot", file, "--mode", "overwrite"}, deployedAs...)...)
				if err != nil {
					t.Fatalf("snapshot: %v\n%s", err, stderr)
				}
				sortKeys(t, snapshotOf(file))
			}
			stdout, stderr, err := bicep(t, append([]string{"snapshot", file, "--mode", "validate"}, deployedAs...)...)
			if err != nil {
				t.Errorf("the template gives something else than the snapshot shows; if that is meant, run `go test ./azure -update`\n%s%s", stdout, stderr)
			}
		})
	}
}

// A snapshot that leaves something out shows a reviewer less than is deployed.
func TestSnapshotsAreWhole(t *testing.T) {
	for _, file := range parameterFiles(t) {
		for _, d := range value[[]any](t, readJSON(t, snapshotOf(file)), "diagnostics") {
			t.Errorf("%s: %v", filepath.Base(file), d)
		}
	}
}

func replace(t *testing.T, old, fresh string) {
	t.Helper()
	if err := os.WriteFile(old, readFile(t, fresh), 0o644); err != nil {
		t.Fatal(err)
	}
}

// sortKeys gives a snapshot an order of its own: the compiler writes the
// outputs in a different one each time.
func sortKeys(t *testing.T, path string) {
	t.Helper()
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	dec := json.NewDecoder(bytes.NewReader(readFile(t, path)))
	dec.UseNumber() // 1.0 must stay 1.0: validate compares the text
	var doc any
	if err := errors.Join(dec.Decode(&doc), enc.Encode(&doc)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func readJSON(t *testing.T, path string) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(readFile(t, path), &doc); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return doc
}

// dropGenerator takes out what names the compiler's version and hash.
func dropGenerator(node any) {
	switch n := node.(type) {
	case map[string]any:
		delete(n, "_generator")
		for _, child := range n {
			dropGenerator(child)
		}
	case []any:
		for _, child := range n {
			dropGenerator(child)
		}
	}
}

// value follows names into doc.
func value[T any](t *testing.T, doc any, names ...string) T {
	t.Helper()
	node := doc
	for _, name := range names {
		object, ok := node.(map[string]any)
		if !ok {
			t.Fatalf("nothing at %v: %T has no %q", names, node, name)
		}
		node = object[name]
	}
	typed, ok := node.(T)
	if !ok {
		t.Fatalf("%v is %T, want %T", names, node, typed)
	}
	return typed
}

func mustJSON(t *testing.T, doc any) []byte {
	t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
