package sidecar_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const longestWalk = 20 // stops

// TestWalkNamesFunctions holds docs/walk.md against the code: what it names is
// there, and no walk is longer than a person can follow.
func TestWalkNamesFunctions(t *testing.T) {
	text, err := os.ReadFile("../docs/walk.md")
	if err != nil {
		t.Fatal(err)
	}
	functions := map[string]map[string]bool{}
	name := regexp.MustCompile("`([a-z]+)\\.([A-Za-z.]+)`")
	found := name.FindAllStringSubmatch(string(text), -1)
	if len(found) < 30 {
		t.Fatalf("only %d functions are named", len(found))
	}
	for _, m := range found {
		pkg, function := m[1], m[2]
		if pkg == "package" {
			continue // the page's explanation
		}
		if functions[pkg] == nil {
			functions[pkg] = declared(t, filepath.Join("internal", pkg))
		}
		if !functions[pkg][function] {
			t.Errorf("docs/walk.md: there is no %s in internal/%s", function, pkg)
		}
	}
	stop := regexp.MustCompile(`(?m)^(\d+)\. `)
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		heading, _, _ := strings.Cut(section, "\n")
		if n := len(stop.FindAllString(section, -1)); n > longestWalk {
			t.Errorf("docs/walk.md: %q has %d stops, at most %d are a walk", heading, n, longestWalk)
		}
	}
}

// declared returns the functions of a package as "Function" and "Type.Method".
func declared(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	pkg := sources(t)[dir]
	if pkg == nil {
		t.Fatalf("docs/walk.md names the package %s, which is not there", dir)
	}
	for _, file := range pkg.GoFiles {
		tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, file), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range tree.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			name := f.Name.Name
			if f.Recv != nil {
				of := f.Recv.List[0].Type
				if star, ok := of.(*ast.StarExpr); ok {
					of = star.X
				}
				if id, ok := of.(*ast.Ident); ok {
					name = id.Name + "." + name
				}
			}
			names[name] = true
		}
	}
	return names
}
