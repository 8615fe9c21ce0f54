package sidecar_test

import (
	"flag"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what documents have from the code")

// TestDiagram holds the picture of the packages in CONTRIBUTING.md against the
// imports.
func TestDiagram(t *testing.T) {
	const page = "../CONTRIBUTING.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	picture := regexp.MustCompile("(?s)```mermaid\n.*?```")
	want := "```mermaid\n" + diagram(imports(t)) + "```"
	if got := picture.Find(text); string(got) == want {
		return
	}
	if !*update {
		t.Fatal("the picture in CONTRIBUTING.md is not that of the code: go test ./sidecar -run Diagram -update")
	}
	if err := os.WriteFile(page, picture.ReplaceAllLiteral(text, []byte(want)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// imports returns each package's imports within the module.
func imports(t *testing.T) map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for dir, pkg := range sources(t) {
		all[dir] = map[string]bool{}
		for _, imported := range pkg.Imports {
			if below, ours := strings.CutPrefix(imported, module); ours {
				all[dir][below] = true
			}
		}
	}
	return all
}

func diagram(imports map[string]map[string]bool) string {
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	for _, dir := range slices.Sorted(maps.Keys(imports)) {
		for _, below := range slices.Sorted(maps.Keys(imports[dir])) {
			if !brought(imports, dir, below) {
				b.WriteString("  " + path.Base(dir) + " --> " + path.Base(below) + "\n")
			}
		}
	}
	return b.String()
}

// brought reports whether a package would come by another import as well.
func brought(imports map[string]map[string]bool, dir, below string) bool {
	for other := range imports[dir] {
		if other != below && reaches(imports, other, below) {
			return true
		}
	}
	return false
}

func reaches(imports map[string]map[string]bool, from, to string) bool {
	for next := range imports[from] {
		if next == to || reaches(imports, next, to) {
			return true
		}
	}
	return false
}
