package sidecar_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// read are the packages that are read like a page: from a file that calls to a
// file that is called, and never back.
var read = []string{"internal/wire", "internal/ingress"}

// TestNoCircleOfCallsBetweenFiles looks at every use of a function or method of
// the same package. Uses through an interface are not seen, which is what an
// interface is for.
func TestNoCircleOfCallsBetweenFiles(t *testing.T) {
	for _, dir := range read {
		calls := fileCalls(t, dir)
		if len(calls) < 3 {
			t.Errorf("%s: only %d files call another", dir, len(calls))
		}
		if circle := findCircle(calls); circle != nil {
			t.Errorf("%s: files call each other in a circle: %s", dir, strings.Join(circle, " -> "))
		}
	}
}

func TestCirclesAreFound(t *testing.T) {
	calls := map[string]map[string]bool{"a": {"b": true}, "b": {"c": true}, "c": {}}
	if c := findCircle(calls); c != nil {
		t.Errorf("found %v where there is none", c)
	}
	calls["c"]["a"] = true
	if c := findCircle(calls); len(c) != 4 {
		t.Errorf("found %v", c)
	}
}

// fileCalls returns which files of a package use functions of which others.
func fileCalls(t *testing.T, dir string) map[string]map[string]bool {
	t.Helper()
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range sources(t)[dir].GoFiles {
		f, err := parser.ParseFile(set, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	// Other packages are left empty: what they have is of no interest, and
	// reading them takes minutes.
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: empty{}, Error: func(error) {}}
	pkg, _ := config.Check(module+dir, set, files, info)
	calls := map[string]map[string]bool{}
	for use, object := range info.Uses {
		f, ok := object.(*types.Func)
		if !ok || f.Pkg() != pkg || isInterfaceMethod(f) {
			continue
		}
		from, to := filepath.Base(set.Position(use.Pos()).Filename), filepath.Base(set.Position(f.Pos()).Filename)
		if from != to {
			if calls[from] == nil {
				calls[from] = map[string]bool{}
			}
			calls[from][to] = true
		}
	}
	return calls
}

// empty is an importer of packages with nothing in them.
type empty struct{}

func (empty) Import(imported string) (*types.Package, error) {
	return types.NewPackage(imported, path.Base(imported)), nil
}

func isInterfaceMethod(f *types.Func) bool {
	receiver := f.Signature().Recv()
	return receiver != nil && types.IsInterface(receiver.Type())
}

// findCircle returns a circle of calls, nil when there is none.
func findCircle(calls map[string]map[string]bool) []string {
	done := map[string]bool{}
	var trail []string
	var visit func(file string) []string
	visit = func(file string) []string {
		if i := slices.Index(trail, file); i >= 0 {
			return append(slices.Clone(trail[i:]), file)
		}
		if done[file] {
			return nil
		}
		trail = append(trail, file)
		for _, next := range slices.Sorted(maps.Keys(calls[file])) {
			if circle := visit(next); circle != nil {
				return circle
			}
		}
		trail = trail[:len(trail)-1]
		done[file] = true
		return nil
	}
	for _, file := range slices.Sorted(maps.Keys(calls)) {
		if circle := visit(file); circle != nil {
			return circle
		}
	}
	return nil
}
