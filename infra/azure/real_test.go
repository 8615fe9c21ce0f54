package azure

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pack has the Azure CLI's own code pack what `az acr build` would upload, and
// prints the names.
const pack = `
import sys, tarfile
from azure.cli.command_modules.acr import _archive_utils as archive
archive._pack_source_code(".", sys.argv[1], "./Dockerfile.app", "Dockerfile.app")
print("\n".join(m.name for m in tarfile.open(sys.argv[1]) if m.isfile()))
`

// The Azure CLI reads .dockerignore with rules of its own.
func TestRemoteBuildGetsTheSource(t *testing.T) {
	python := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "python3", args...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "PYTHONPATH=/usr/lib/python3/dist-packages", "AZURE_CONFIG_DIR="+t.TempDir())
		return cmd
	}
	if err := python("-c", "import azure.cli.command_modules.acr._archive_utils").Run(); err != nil {
		t.Skip("no Azure CLI for this machine's Python: what it would upload is not looked at")
	}
	out, err := python("-c", pack, filepath.Join(t.TempDir(), "source.tar.gz")).Output()
	if err != nil {
		t.Fatal(err)
	}
	uploaded := strings.Fields(string(out))
	for _, dir := range []string{"app", "sidecar"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules") {
				return fs.SkipDir
			}
			name, err := filepath.Rel(root, path)
			source := filepath.Ext(name) == ".go" && !strings.HasSuffix(name, "_test.go")
			if source && !slices.Contains(uploaded, name) {
				t.Errorf("%s is not uploaded", name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range uploaded {
		top, _, _ := strings.Cut(name, "/")
		if strings.HasSuffix(name, "_test.go") || slices.Contains([]string{"bicep", "docs", "scripts", ".git"}, top) {
			t.Errorf("%s is uploaded", name)
		}
	}
	for _, name := range []string{"Dockerfile.app", "LICENSE", "go.work", "app/go.mod", "sidecar/go.sum", "infra/go.mod"} {
		if !slices.Contains(uploaded, name) {
			t.Errorf("%s is not uploaded", name)
		}
	}
}

// The real command line is the judge of the stand-in's table, as far as it is
// here and has the command (an old one has no `containerapp`).
func TestOptionsAreThoseOfTheRealCommand(t *testing.T) {
	if testing.Short() {
		t.Skip("the real az is not asked with -short")
	}
	if _, err := exec.LookPath("az"); err != nil {
		t.Skip("no Azure CLI here: the stand-in's options are not compared with it")
	}
	var written optionTable
	if err := json.Unmarshal(readFile(t, "testdata/az-options.json"), &written); err != nil {
		t.Fatal(err)
	}
	table, config := written.Commands, t.TempDir()
	// The table is of that release; options come and go between releases.
	of := regexp.MustCompile(`azure-cli (\d+)\.(\d+)`)
	want, here := of.FindStringSubmatch(written.Source), of.FindStringSubmatch(azVersion(t, config))
	if want == nil {
		t.Fatalf("no release in %q", written.Source)
	}
	if here == nil || number(here[1])*1000+number(here[2]) < number(want[1])*1000+number(want[2]) {
		t.Skipf("the az here is older than the table (%s)", written.Source)
	}
	help := func(command string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), "az", append(strings.Fields(command), "--help")...)
		cmd.Env = append(os.Environ(), "AZURE_CONFIG_DIR="+config, "AZURE_CORE_COLLECT_TELEMETRY=false")
		return cmd.Output()
	}
	option := regexp.MustCompile(`(^| )(--?[a-z][a-z-]*)`)
	absent := map[string]bool{} // groups that this az does not have
	for _, command := range slices.Sorted(maps.Keys(table)) {
		known := table[command]
		group, _, _ := strings.Cut(command, " ")
		if command == "" || absent[group] {
			continue
		}
		out, err := help(command)
		if err != nil {
			_, groupErr := help(group)
			absent[group] = groupErr != nil
			t.Logf("not compared, the az here does not explain %q", command)
			continue
		}
		var real []string
		for line := range strings.Lines(string(out)) {
			if head, _, described := strings.Cut(line, " : "); described && strings.HasPrefix(line, "    -") {
				for _, m := range option.FindAllStringSubmatch(head, -1) {
					real = append(real, m[2])
				}
			}
		}
		for _, o := range known {
			if !slices.Contains(real, o) {
				t.Errorf("az %s has no %s", command, o)
			}
		}
	}
}

func azVersion(t *testing.T, config string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "az", "version", "--query", `"azure-cli"`, "--output", "tsv")
	cmd.Env = append(os.Environ(), "AZURE_CONFIG_DIR="+config, "AZURE_CORE_COLLECT_TELEMETRY=false")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return "azure-cli " + string(out)
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}
