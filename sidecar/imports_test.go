package sidecar_test

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "sluice/sidecar/"

// floors is the shape of the module, from the ground up: a package imports only
// from floors below its own. A new package takes its place here, which is the
// moment to think about where it belongs.
var floors = map[string]int{
	"senders":             0, // pure
	"settings":            0,
	"internal/request":    0, // pure
	"internal/webhook":    1, // pure
	"internal/lifecycle":  0, // pure
	"internal/share":      0, // pure
	"internal/metrics":    0,
	"internal/reminder":   0,
	"internal/loop":       0,
	"internal/entrypoint": 0,
	"entra":               0,
	"yamlfile":            0, // pure
	"routes":              1, // pure
	"internal/gate":       2,
	"internal/buffer":     2,
	"internal/spool":      2,
	"internal/upstream":   2,
	"internal/wire":       2, // knows no webhook
	"internal/health":     3,
	"internal/config":     3, // its settings speak of gates, lanes and senders
	"internal/ingress":    4,
	"internal/control":    4,
	"internal/replay":     4,
	"internal/supervise":  5,
	"cmd/sidecar":         6,
	"internal/simulate":   6, // tests only
}

var pure = []string{"senders", "routes", "internal/request", "internal/webhook", "internal/lifecycle", "internal/share", "yamlfile"}

// owners says who alone may use a dependency directly.
var owners = map[string][]string{
	"github.com/jackc/pgx":                  {"internal/buffer"},
	"github.com/hashicorp/go-retryablehttp": {"internal/upstream", "internal/replay"},
	"github.com/kelseyhightower/envconfig":  {"settings"},
	"github.com/lmittmann/tint":             {"settings"},
	"github.com/Azure":                      {"entra"},
	"github.com/goccy/go-yaml":              {"senders", "routes", "yamlfile", "cmd/sidecar"},
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
		if d.Name() == "testdata" {
			return fs.SkipDir
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
	if len(found) < len(pure) {
		t.Fatalf("found only %d packages", len(found))
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
			if strings.HasPrefix(imported, "sluice/app") || strings.HasPrefix(imported, "sluice/infra") {
				t.Errorf("%s imports %s: the sidecar stands alone", dir, imported)
			}
		}
	}
}

// TestWireKnowsNoWebhook holds what HTTP to the outside may not know.
func TestWireKnowsNoWebhook(t *testing.T) {
	allowed := []string{module + "internal/request", module + "internal/metrics", module + "internal/reminder"}
	for _, imported := range sources(t)["internal/wire"].Imports {
		if strings.HasPrefix(imported, module) && !slices.Contains(allowed, imported) {
			t.Errorf("wire imports %s", imported)
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

// TestPurePackagesReachNothing looks at everything a pure package pulls in.
func TestPurePackagesReachNothing(t *testing.T) {
	banned := func(dep string) bool {
		return dep == "net" || dep == "net/http" || dep == "database/sql" || strings.HasPrefix(dep, "github.com/jackc/")
	}
	for _, dir := range pure {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./"+dir).Output()
		if err != nil {
			t.Fatalf("list dependencies of %s: %v", dir, err)
		}
		deps := strings.Fields(string(out))
		if !slices.Contains(deps, module+dir) {
			t.Fatalf("dependencies of %s do not name it: %v", dir, deps)
		}
		for _, dep := range deps {
			if banned(dep) {
				t.Errorf("%s pulls in %s", dir, dep)
			}
		}
	}
}

// TestPurePackagesReadNoClock looks for every use of package time that asks
// for, or waits for, the present.
func TestPurePackagesReadNoClock(t *testing.T) {
	packages := sources(t)
	for _, dir := range pure {
		pkg, ok := packages[dir]
		if !ok {
			t.Errorf("%s is not there", dir)
			continue
		}
		for _, name := range pkg.GoFiles {
			file := path.Join(dir, name)
			set := token.NewFileSet()
			tree, err := parser.ParseFile(set, file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, use := range clockUses(tree) {
				t.Errorf("%s reads the clock", set.Position(use))
			}
		}
	}
}

var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

func clockUses(file *ast.File) []token.Pos {
	local := ""
	for _, spec := range file.Imports {
		if imported, err := strconv.Unquote(spec.Path.Value); err == nil && imported == "time" {
			local = "time"
			if spec.Name != nil {
				local = spec.Name.Name
			}
		}
	}
	var uses []token.Pos
	ast.Inspect(file, func(n ast.Node) bool {
		if selector, ok := n.(*ast.SelectorExpr); ok {
			if name, ok := selector.X.(*ast.Ident); ok && name.Name == local && slices.Contains(clock, selector.Sel.Name) {
				uses = append(uses, selector.Pos())
			}
		}
		return true
	})
	return uses
}

func TestClockUsesAreFound(t *testing.T) {
	const source = `package p
import when "time"
func f() { when.Sleep(0); _ = when.Now; _ = when.Second; g.Now() }`
	tree, err := parser.ParseFile(token.NewFileSet(), "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	if uses := clockUses(tree); len(uses) != 2 {
		t.Errorf("found %d uses, want 2", len(uses))
	}
}
