package azure

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// rows returns the cells of a section's table, without its head.
func rows(t *testing.T, page, section string) [][]string {
	t.Helper()
	_, text, found := strings.Cut(string(readFile(t, page)), "\n## "+section+"\n")
	if !found {
		t.Fatalf("no section %q", section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	var table [][]string
	for line := range strings.Lines(text) {
		if cells := strings.Split(strings.TrimSpace(line), " | "); len(cells) > 1 {
			cells[0] = strings.TrimPrefix(cells[0], "| ")
			cells[len(cells)-1] = strings.TrimSuffix(cells[len(cells)-1], " |")
			table = append(table, cells)
		}
	}
	return table[1:]
}

// tests returns the names of all tests of the tree.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, dir := range []string{"/sidecar", "/app", "/infra"} {
		err := filepath.WalkDir(root+dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			for _, m := range declared.FindAllStringSubmatch(string(readFile(t, path)), -1) {
				names[m[1]] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// holdTests fails unless a cell names tests, and all of them exist.
func holdTests(t *testing.T, known map[string]bool, row, cell string) {
	t.Helper()
	named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(cell, -1)
	if len(named) == 0 {
		t.Errorf("%s: no test", row)
	}
	for _, m := range named {
		if !known[m[1]] {
			t.Errorf("%s: there is no test %s", row, m[1])
		}
	}
}

// Every claim about Azure names its source and what holds it.
func TestEveryLineHasASourceAndATest(t *testing.T) {
	known, table := tests(t), rows(t, root+"/docs/azure.md", "Sources")
	if len(table) != 15 {
		t.Fatalf("%d lines, want 15", len(table))
	}
	source := regexp.MustCompile(`learn\.microsoft\.com|docs\.github\.com|[\w-]+/[\w-]+ (\d+|` + "`)|azure-cli" + `|azure-dev`)
	for i, row := range table {
		if len(row) != 4 || row[0] != strconv.Itoa(i+1) {
			t.Fatalf("row %q", row)
		}
		// The last is about what is not there.
		if i < 14 && !source.MatchString(row[2]) {
			t.Errorf("line %s has no source: %q", row[0], row[2])
		}
		holdTests(t, known, "line "+row[0], row[3])
	}
}

// The sections of the runbook that this one generalises: the same, or different
// and why.
func TestRunbookHasTheSectionsOfASingleContainer(t *testing.T) {
	known, anchors := tests(t), sections(t, runbook)
	table := rows(t, runbook, "From the runbook of a single container")
	if len(table) < 14 {
		t.Fatalf("only %d sections", len(table))
	}
	for _, row := range table {
		if len(row) != 4 {
			t.Fatalf("row %q", row)
		}
		m := regexp.MustCompile(`^\[here\]\(#([a-z0-9-]+)\)$`).FindStringSubmatch(row[1])
		if m == nil || !anchors[m[1]] {
			t.Errorf("%s leads to %s", row[0], row[1])
		}
		if !strings.HasPrefix(row[2], "same") && !regexp.MustCompile(`^different( by \w+)?: .{20}`).MatchString(row[2]) {
			t.Errorf("%s is %q: the same, or different and why?", row[0], row[2])
		}
		holdTests(t, known, row[0], row[3])
	}
}

// What a runbook shows as a section has to be one; the links within a page too.
func TestLinksWithinThePagesLeadSomewhere(t *testing.T) {
	pages := map[string]map[string]bool{}
	for _, page := range []string{"operations", "azure"} {
		pages[page] = sections(t, root+"/docs/"+page+".md")
	}
	for page, own := range pages {
		text := string(readFile(t, root+"/docs/"+page+".md"))
		for _, m := range regexp.MustCompile(`\]\((?:(operations|azure)\.md)?#([a-z0-9_-]+)\)`).FindAllStringSubmatch(text, -1) {
			target := own
			if m[1] != "" {
				target = pages[m[1]]
			}
			if !target[strings.ReplaceAll(m[2], "_", "")] && !target[m[2]] {
				t.Errorf("docs/%s.md leads to %s, which is not there", page, m[0])
			}
		}
	}
}
