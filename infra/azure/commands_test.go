package azure

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// written are the files in which someone or something is told to call az.
var written = []string{"/scripts/*", "/.github/workflows/*", "/azure.yaml", "/Dockerfile.*", "/bicep/*.bicep",
	"/bicep/*/*.bicep", "/docs/*.md", "/docs/*/*.md", "/README.md", "/CHANGELOG.md", "/CONTRIBUTING.md"}

// prose are the words after az where a text speaks of the program itself.
var prose = []string{"alone", "asks", "cannot", "command", "curl", "is"}

// mention is an az command line in a text: what was written of it, and whether
// the command's last words are only known when it runs.
type mention struct {
	words   []string
	options []string
	open    bool
}

var (
	azHead    = regexp.MustCompile("(?:^|[\\s`\"'(])az ([a-z][a-z0-9-]*(?: [a-z][a-z0-9-]*)*)")
	azValue   = regexp.MustCompile(`^[.=/_:][^ \n]`) // what looked like a word is a value
	azOption  = regexp.MustCompile(`(?:^|[\s+])(--?[a-z][a-z-]*)`)
	continued = regexp.MustCompile(`\\\r?\n`)
	azPrinted = regexp.MustCompile(`\bof_app '([a-z -]+)'`) // scripts/azure.sh prints these
)

// mentions finds every az command line in a script, a workflow or a page.
func mentions(text string) []mention {
	text = azPrinted.ReplaceAllString(continued.ReplaceAllString(text, " "), "az containerapp $1")
	var found []mention
	for _, at := range azHead.FindAllStringSubmatchIndex(text, -1) {
		m := mention{words: strings.Fields(text[at[2]:at[3]])}
		if slices.Contains(prose, m.words[0]) {
			continue
		}
		rest := commandLine(text[at[3]:])
		if last := len(m.words) - 1; azValue.MatchString(rest) {
			m.words = m.words[:last]
		}
		m.open = regexp.MustCompile(`^ ?(VALUE|[$%])`).MatchString(rest)
		for _, o := range azOption.FindAllStringSubmatch(rest, -1) {
			m.options = append(m.options, o[1])
		}
		found = append(found, m)
	}
	return found
}

// commandLine returns the text up to where the command ends, with VALUE for what
// is quoted or substituted: a command in there is a mention of its own. A quote
// after a blank or an equals sign opens; any other is the end of the text that
// the command stands in.
func commandLine(text string) string {
	var line strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case strings.HasPrefix(text[i:], "$("):
			i += closing(text[i:], '(', ')')
			line.WriteString("VALUE")
		case (c == '"' || c == '\'') && i > 0 && strings.ContainsRune(" =", rune(text[i-1])):
			end := i + 1
			for end < len(text) && text[end] != c {
				if text[end] == '\\' && c == '"' {
					end++
				}
				if end < len(text) && c == '"' && strings.HasPrefix(text[end:], "$(") {
					end += closing(text[end:], '(', ')')
				}
				end++
			}
			i = end
			line.WriteString("VALUE")
		case strings.ContainsRune("\n|;&)`\"'", rune(c)):
			return line.String()
		default:
			line.WriteByte(c)
		}
	}
	return line.String()
}

// closing is the place of the bracket that closes the first one.
func closing(text string, opens, closes byte) int {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case opens:
			depth++
		case closes:
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(text)
}

// wrong says what the real az would not take of a mention, or nothing.
func (table optionTable) wrong(m mention) []string {
	command := strings.Join(m.words, " ")
	known, exact := table.Commands[command]
	if !exact {
		group := 0
		for name, options := range table.Commands {
			if strings.HasPrefix(name, command+" ") {
				group++
				known = append(slices.Clip(known), options...)
			}
		}
		if group == 0 || !m.open && len(m.options) > 0 {
			return []string{"no such command"}
		}
	}
	var wrong []string
	for _, o := range m.options {
		if !slices.Contains(known, o) && !slices.Contains(table.Commands[""], o) {
			wrong = append(wrong, o)
		}
	}
	return wrong
}

func readTable(t *testing.T) optionTable {
	t.Helper()
	var table optionTable
	if err := json.Unmarshal(readFile(t, "testdata/az-options.json"), &table); err != nil {
		t.Fatal(err)
	}
	return table
}

// Every az command that a script, a workflow or a page has is one of the Azure
// CLI, with options that it takes; the stand-in only sees those that a test runs.
func TestCommandsAreReal(t *testing.T) {
	table, found := readTable(t), 0
	for _, pattern := range written {
		files, err := filepath.Glob(root + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for _, m := range mentions(string(readFile(t, file))) {
				found++
				if wrong := table.wrong(m); wrong != nil {
					t.Errorf("%s: az %s: %s", file, strings.Join(m.words, " "), strings.Join(wrong, " "))
				}
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d az commands found", found)
	}
}

func TestCommandsAreFoundInText(t *testing.T) {
	for text, want := range map[string][]string{
		"x=$(az acr show --name \"$r\" --query x --output tsv 2>/dev/null) || y --no": {"acr show", "--name", "--query", "--output"},
		"change az rest --url \"a?b=$(f \"c d\")&e\" \\\n  --body \"@$file\"; g -h":   {"rest", "--url", "--body"},
		"say \"gone: az group show --name $g\" --no":                                  {"group show", "--name"},
		"`az group show` or `az login -t X`":                                          {"group show", "", "login", "-t"},
		"az account show ${s:+--subscription \"$s\"} --query '[id, --no]'":            {"account show", "--subscription", "--query"},
		"az role x --assignee $(az identity show --name a) --yes":                     {"role x", "--assignee", "--yes", "", "identity show", "--name"},
		"$(of_app 'logs show' --revision \"$x\" --tail 9) --no":                       {"containerapp logs show", "--revision", "--tail"},
		"what az is signed in to":                                                     nil,
	} {
		var got []string
		for i, m := range mentions(text) {
			if i > 0 {
				got = append(got, "")
			}
			got = append(append(got, strings.Join(m.words, " ")), m.options...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// What the table lacks is refused: by the stand-in, and where it is written.
func TestUnknownCommandsAreRefused(t *testing.T) {
	t.Setenv("STANDIN_OPTIONS", "testdata/az-options.json")
	table := readTable(t)
	for line, ok := range map[string]bool{
		"az containerapp show --name a -g b":           true,
		"az containerapp \"$@\" --name a":              true,
		"az containerapp \"$@\" --colour a":            false,
		"az containerapp":                              true,
		"az containerapp show --colour red":            false,
		"az containerapp shew --name a":                false,
		"az containerapp --name a":                     false,
		"az ad signed-in-user show --subscription any": false, // the directory knows no subscription
	} {
		found := mentions(line)
		if len(found) != 1 || (table.wrong(found[0]) == nil) != ok {
			t.Errorf("%s: found %v", line, found)
		}
		if bare := len(found) == 1 && !found[0].open && len(found[0].options) > 0; bare {
			if _, err := parse(strings.Fields(line)[1:]); (err == nil) != ok {
				t.Errorf("%s: the stand-in says %v", line, err)
			}
		}
	}
}
