package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// public are the packages that other modules or tests import.
var public = []string{
	"app/drain", "sidecar/senders", "sidecar/routes", "sidecar/settings", "sidecar/entra",
	"infra/testkit", "infra/leaks", "infra/docs", "infra/steady", // tests import these
}

// called are methods that the standard library or a dependency calls through an
// interface or reflection.
var called = []string{"Visit", "UnmarshalYAML", "NextRetry"}

// An exported name that only tests use is unneeded code or belongs into a test
// file. A method counts as used when any method or field of that name is used.
func TestNoExportedNameIsForTestsOnly(t *testing.T) {
	u := usage{set: token.NewFileSet(), plain: map[string]int{}, qualified: map[string]int{}, selected: map[string]int{}}
	for _, module := range []string{"app", "sidecar", "infra"} {
		err := filepath.WalkDir("../../"+module, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			return u.read(path)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(u.declared) < 100 {
		t.Fatalf("only %d exported names are found", len(u.declared))
	}
	for _, d := range u.declared {
		if slices.Contains(public, d.dir) || slices.Contains(called, d.name) || u.used(d) {
			continue
		}
		t.Errorf("%s: nothing but tests uses %s", d.at, d.name)
	}
}

// usage is what code outside tests declares and uses.
type usage struct {
	set       *token.FileSet
	declared  []declaration
	plain     map[string]int // by directory and name
	qualified map[string]int // by package and name
	selected  map[string]int // by name: after a dot, or as a method of an interface
}

type declaration struct {
	dir, pkg, name string
	method         bool
	at             token.Position
}

// used reports whether the name occurs outside its own declaration.
func (u *usage) used(d declaration) bool {
	if d.method {
		return u.selected[d.name] > 0
	}
	return u.plain[d.dir+" "+d.name] > 1 || u.qualified[d.pkg+"."+d.name] > 0
}

func (u *usage) read(path string) error {
	file, err := parser.ParseFile(u.set, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../../")
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			u.selected[n.Sel.Name]++
			if of, ok := n.X.(*ast.Ident); ok {
				u.qualified[of.Name+"."+n.Sel.Name]++
			}
		case *ast.InterfaceType:
			for _, method := range n.Methods.List {
				for _, name := range method.Names {
					u.selected[name.Name]++
				}
			}
		case *ast.Ident:
			u.plain[dir+" "+n.Name]++
		}
		return true
	})
	for _, name := range exported(file) {
		name.dir, name.pkg, name.at = dir, file.Name.Name, u.set.Position(file.Name.Pos())
		u.declared = append(u.declared, name)
	}
	return nil
}

// exported returns the exported names that a file declares, without fields.
func exported(file *ast.File) (names []declaration) {
	add := func(name *ast.Ident, method bool) {
		if name.IsExported() {
			names = append(names, declaration{name: name.Name, method: method})
		}
	}
	for _, declared := range file.Decls {
		switch d := declared.(type) {
		case *ast.FuncDecl:
			add(d.Name, d.Recv != nil)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					add(s.Name, false)
				case *ast.ValueSpec:
					for _, name := range s.Names {
						add(name, false)
					}
				}
			}
		}
	}
	return names
}
