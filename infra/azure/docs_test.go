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

// T in the tables of settings is what the template sets itself, and no more.
func TestRunbookMarksWhatTheTemplateSets(t *testing.T) {
	_, text, _ := strings.Cut(string(readFile(t, runbook)), "\n## Settings\n")
	marked := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| ([TS ]*) \\|").FindAllStringSubmatch(text, -1) {
		marked[m[1]] = strings.Contains(m[2], "T")
	}
	if len(marked) < 50 {
		t.Fatalf("only %d settings in the tables", len(marked))
	}
	set := map[string]bool{}
	for _, file := range []string{"/bicep/main.bicep", "/bicep/modules/container-app.bicep"} {
		for _, m := range regexp.MustCompile(`\bname: '([A-Z_]+)'`).FindAllStringSubmatch(string(readFile(t, root+file)), -1) {
			set[m[1]] = true
		}
	}
	for name, mark := range marked {
		if mark != set[name] {
			t.Errorf("%s: marked T %v, set by the template %v", name, mark, set[name])
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

// Each az command in the code of runbook and docs/azure.md has options that the table knows.
func TestRunbookCommandsAreReal(t *testing.T) {
	t.Setenv("STANDIN_OPTIONS", "testdata/az-options.json")
	text := strings.ReplaceAll(string(readFile(t, runbook))+string(readFile(t, root+"/docs/azure.md")), "\\\n", " ")
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

// sections returns the anchors of a page, as GitHub makes them.
func sections(t *testing.T, page string) map[string]bool {
	t.Helper()
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(readFile(t, page)), -1) {
		name := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		anchors[strings.ReplaceAll(name, " ", "-")] = true
	}
	return anchors
}

// An alert leads to its section, and so does every hint of the scripts.
func TestAlertsAndHintsLeadSomewhere(t *testing.T) {
	known := map[string]map[string]bool{"operations": sections(t, runbook), "azure": sections(t, root+"/docs/azure.md")}
	links := regexp.MustCompile(`docs/(operations|azure)\.md#([a-z0-9-]+)`)
	alerts, files := 0, []string{}
	for _, pattern := range []string{"/scripts/*", "/bicep/*.bicep*", "/bicep/modules/*.bicep"} {
		found, err := filepath.Glob(root + pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		for _, m := range links.FindAllStringSubmatch(string(readFile(t, file)), -1) {
			if !known[m[1]][m[2]] {
				t.Errorf("%s leads to %s, which is not there", filepath.Base(file), m[0])
			}
		}
	}
	for _, kind := range []string{"Microsoft.Insights/scheduledQueryRules", "Microsoft.Insights/metricAlerts"} {
		for _, r := range resources(t, productionFile, kind) {
			alerts++
			m := links.FindStringSubmatch(value[string](t, r, "properties", "description"))
			if m == nil || !known[m[1]][m[2]] {
				t.Errorf("alert %v leads nowhere", r["name"])
			}
		}
	}
	if alerts < 14 {
		t.Errorf("only %d alerts", alerts)
	}
}

// The queries read what the Stats line has.
func TestQueriesReadWhatIsLogged(t *testing.T) {
	logged := messages(t)
	files, err := filepath.Glob(root + "/bicep/queries/*.kql")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d queries, %v", len(files), err)
	}
	keys, texts := 0, 0
	for _, file := range files {
		text := string(readFile(t, file))
		for _, m := range regexp.MustCompile(`\bline\.([a-zA-Z_]+)`).FindAllStringSubmatch(text, -1) {
			keys++
			if m[1] != "msg" && !slices.Contains(logged, m[1]) {
				t.Errorf("%s reads %s, which nothing logs", filepath.Base(file), m[1])
			}
		}
		for _, m := range regexp.MustCompile(`"([A-Z][^"]+)"`).FindAllStringSubmatch(text, -1) {
			texts++
			if !slices.Contains(logged, m[1]) {
				t.Errorf("%s waits for %q, which nothing logs", filepath.Base(file), m[1])
			}
		}
	}
	if keys < 15 || texts < 5 {
		t.Errorf("only %d keys and %d messages", keys, texts)
	}
	// The workbook has them in it.
	book := value[string](t, one(t, productionFile, "Microsoft.Insights/workbooks"), "properties", "serializedData")
	if strings.Contains(book, "{deploy}") || !strings.Contains(book, "sum(stored)") {
		t.Error("the workbook has no query")
	}
}

// What the runbook shows of the scripts is what they print, on the stand-in.
func TestTranscriptsAreReal(t *testing.T) {
	c := running(t, "Single")
	c.Faults.NextHealth, c.SystemLog = "Unhealthy", []string{"Startup probe failed: connection refused"}
	s := newStage(t, c)
	printed := map[string]string{}
	printed["broken deploy"], _ = s.run("deploy", "--yes", "--tag", "bad")
	printed["status"], _ = s.run("status")
	c = s.cloud()
	c.Faults.NextHealth = ""
	s.set(c)
	printed["rollback"], _ = s.run("rollback", "--yes")
	first := newStage(t, empty())
	printed["first deploy"], _ = first.run("deploy", "--yes", "--tag", "one")
	printed["idle"], _ = first.run("status")
	text := string(readFile(t, runbook))
	for name, output := range printed {
		part := regexp.MustCompile("(?s)(<!-- transcript: " + name + " -->\n```\n).*?(```\n)")
		if *update {
			text = part.ReplaceAllString(text, "${1}"+strings.ReplaceAll(output, "$", "$$")+"${2}")
		}
		if m := part.FindString(text); !strings.Contains(m, output) {
			t.Errorf("the transcript of %q is not what the script prints: run `go test ./azure -run Transcripts -update`\n%s", name, output)
		}
	}
	if *update {
		if err := os.WriteFile(runbook, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// `az containerapp exec` has been seen to take a command with arguments for one
// name (microsoft/azure-container-apps issue 1029), and the directory does not
// know a principal under its application id right after it was made, which
// --assignee asks it for (Azure/azure-cli, command_modules/role/custom.py,
// _resolve_object_id).
func TestRunbookCommandsThatWorkAtOnce(t *testing.T) {
	text := string(readFile(t, runbook)) + string(readFile(t, root+"/docs/azure.md"))
	if m := regexp.MustCompile(`containerapp exec [^\n]*--command ("[^"]* |'[^']* )`).FindString(text); m != "" {
		t.Errorf("a command with arguments: %s", m)
	}
	if regexp.MustCompile(`role assignment create [^\n]*--assignee `).MatchString(text) {
		t.Error("a role is assigned by --assignee right after the principal is made")
	}
	if !strings.Contains(text, "--command /status") || !strings.Contains(string(readFile(t, root+"/Dockerfile.sidecar")), "ln -s sidecar /out/status") {
		t.Error("there is no form without arguments")
	}
}
