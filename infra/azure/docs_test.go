package azure

import (
	"go/ast"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const runbook = root + "/docs/operations.md"

// The runbook is read in a hurry: what it quotes must be there word for word.
func TestRunbookNamesEverySetting(t *testing.T) {
	text := string(readFile(t, runbook))
	for _, dir := range []string{"/sidecar/internal/config", "/app/internal/config"} {
		for _, name := range tags(t, root+dir) {
			if !strings.Contains(text, "`"+name+"`") {
				t.Errorf("%s of %s is not in docs/operations.md", name, dir)
			}
		}
	}
}

func TestRunbookQuotesTheLogWordForWord(t *testing.T) {
	_, table, found := strings.Cut(string(readFile(t, runbook)), "\n## Log messages\n")
	if !found {
		t.Fatal("no section on log messages")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	quoted := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1)
	if len(quoted) < 9 {
		t.Fatalf("only %d messages", len(quoted))
	}
	logged := messages(t)
	for _, m := range quoted {
		if !slices.Contains(logged, m[1]) {
			t.Errorf("nothing logs %q", m[1])
		}
	}
}

func TestAlertsLookForWhatIsLogged(t *testing.T) {
	logged := messages(t)
	lines := regexp.MustCompile(`Log has "([^"]+)"`)
	found := 0
	for _, r := range value[[]any](t, readJSON(t, root+"/bicep/production.snapshot.json"), "predictedResources") {
		if value[string](t, r, "type") != "Microsoft.Insights/scheduledQueryRules" {
			continue
		}
		criteria := value[[]any](t, r, "properties", "criteria", "allOf")[0]
		for _, m := range lines.FindAllStringSubmatch(value[string](t, criteria, "query"), -1) {
			found++
			if !slices.ContainsFunc(logged, func(l string) bool { return strings.HasPrefix(l, m[1]) }) {
				t.Errorf("an alert waits for %q, which nothing logs", m[1])
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d lines are looked for", found)
	}
}

// Each az command in the runbook's code has options that the table knows.
func TestRunbookCommandsAreReal(t *testing.T) {
	t.Setenv("STANDIN_OPTIONS", "testdata/az-options.json")
	text := strings.ReplaceAll(string(readFile(t, runbook)), "\\\n", " ")
	commands := 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(block[1]) {
			for _, m := range regexp.MustCompile(`\baz ([^|)]*)`).FindAllStringSubmatch(line, -1) {
				commands++
				bare := regexp.MustCompile(`"[^"]*"|'[^']*'`).ReplaceAllString(m[1], "VALUE")
				if _, err := parse(strings.Fields(bare)); err != nil {
					t.Errorf("az %s: %v", m[1], err)
				}
			}
			if script, _, _ := strings.Cut(line, " "); strings.HasPrefix(script, "scripts/") {
				if _, err := os.Stat(filepath.Join(root, strings.TrimSpace(script))); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if commands < 10 {
		t.Errorf("only %d az commands found", commands)
	}
}

// messages returns every text in the source of both binaries.
func messages(t *testing.T) []string {
	t.Helper()
	var texts []string
	for _, dir := range []string{"/sidecar", "/app"} {
		err := filepath.WalkDir(root+dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() || d.Name() == "testdata" || d.Name() == "node_modules" {
				return err
			}
			if files, _ := filepath.Glob(path + "/*.go"); len(files) == 0 {
				return nil
			}
			inspect(t, path, func(n ast.Node) {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if text, err := strconv.Unquote(lit.Value); err == nil {
						texts = append(texts, text)
					}
				}
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return texts
}
