package azure

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
