package app_test

import (
	"go/build"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "sluice/app/"

// floors is the shape of the module, from the ground up: a package imports only
// from floors below its own. A new package takes its place here, which is the
// moment to think about where it belongs.
var floors = map[string]int{
	"drain":             0, // public, standard library only
	"internal/hooks":    0, // rules: no connection, no database
	"internal/tracing":  0,
	"internal/database": 0,
	"internal/intake":   0,
	"internal/actions":  1,
	"internal/config":   1,
	"internal/jobs":     2,
	"internal/server":   3,
	"internal/service":  4,
	"internal/cli":      5,
	"cmd/app":           6,
	"examples":          0,
	"examples/go":       1,
}

// owners says who alone may use a dependency directly. Nobody reads settings or
// writes logs but through sluice/sidecar/settings.
var owners = map[string][]string{
	"github.com/kelseyhightower/envconfig":     {},
	"github.com/lmittmann/tint":                {},
	"sluice/sidecar/settings":                  {"internal/config", "internal/cli"},
	"sluice/sidecar/entra":                     {"internal/database"},
	"github.com/Azure":                         {},
	"github.com/jackc/pgx":                     {"internal/database", "internal/intake", "internal/jobs", "internal/config", "internal/service"}, // config checks a URL, service passes the pool on
	"github.com/riverqueue/river/rivermigrate": {"internal/database"},
	"github.com/riverqueue":                    {"internal/jobs", "internal/database", "internal/intake"}, // intake passes on what jobs inserts
	"github.com/hashicorp/go-retryablehttp":    {"internal/actions"},
	"github.com/expr-lang/expr":                {"internal/hooks"},
	"github.com/goccy/go-yaml":                 {"internal/hooks"},
	"github.com/santhosh-tekuri/jsonschema":    {"internal/hooks"},
	"github.com/tidwall/match":                 {"internal/hooks"},
	"github.com/spf13/cobra":                   {"internal/cli"},
	"go.opentelemetry.io":                      {"internal/tracing"},
}

// sources returns the module's packages by directory, without those that have
// only tests.
func sources(t *testing.T) map[string]*build.Package {
	t.Helper()
	found := map[string]*build.Package{}
	err := filepath.WalkDir(".", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		pkg, err := build.ImportDir(dir, 0)
		if err == nil && len(pkg.GoFiles) > 0 {
			found[filepath.ToSlash(dir)] = pkg
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir := range floors {
		if found[dir] == nil {
			t.Errorf("%s has a floor and no source", dir)
		}
	}
	return found
}

func TestImportsGoDownwards(t *testing.T) {
	for dir, pkg := range sources(t) {
		floor, known := floors[dir]
		if !known {
			t.Errorf("%s has no floor: give it one in this test", dir)
			continue
		}
		for _, imported := range pkg.Imports {
			below, ours := strings.CutPrefix(imported, module)
			if ours && floors[below] >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d)", dir, floor, below, floors[below])
			}
			if strings.HasPrefix(imported, "sluice/infra") {
				t.Errorf("%s imports %s, which is for tests", dir, imported)
			}
		}
	}
}

func TestDependenciesHaveOneOwner(t *testing.T) {
	for dir, pkg := range sources(t) {
		for _, imported := range pkg.Imports {
			for dependency, allowed := range owners {
				if strings.HasPrefix(imported, dependency) && !slices.Contains(allowed, dir) {
					t.Errorf("%s imports %s, which is for %v", dir, imported, allowed)
				}
			}
		}
	}
}

// TestRulesReachNothing looks at everything that package hooks pulls in.
func TestRulesReachNothing(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./internal/hooks").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, module+"internal/hooks") {
		t.Fatalf("the dependencies do not name the package itself: %v", deps)
	}
	for _, dep := range deps {
		if dep == "net" || dep == "net/http" || dep == "database/sql" || strings.HasPrefix(dep, "github.com/jackc/") {
			t.Errorf("hooks pulls in %s", dep)
		}
	}
}
