package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const top = "../.."

// pages are those that people read.
func pages(t *testing.T) (found []string) {
	t.Helper()
	for _, pattern := range []string{"*.md", ".github/*.md", "docs/*.md", "docs/*/*.md"} {
		files, err := filepath.Glob(filepath.Join(top, pattern))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, files...)
	}
	if len(found) < 20 {
		t.Fatalf("only %d pages", len(found))
	}
	return found
}

func readPage(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fenced  = regexp.MustCompile("(?ms)^( *)```.*?^ *```")
)

// Every link leads to a file of this tree and to a heading that it has. Others are
// not asked: a test needs no network.
func TestLinksLeadSomewhere(t *testing.T) {
	links := 0
	for _, page := range pages(t) {
		text := fenced.ReplaceAllString(readPage(t, page), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			links++
			file, anchor, anchored := strings.Cut(m[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s leads nowhere", page, m[1])
				continue
			}
			if anchored && strings.HasSuffix(target, ".md") && !slices.Contains(anchors(readPage(t, target)), anchor) {
				t.Errorf("%s: %s has no heading #%s", page, target, anchor)
			}
		}
	}
	if links < 100 {
		t.Errorf("only %d links", links)
	}
}

// anchors are a page's headings as GitHub makes them.
func anchors(text string) (found []string) {
	text = fenced.ReplaceAllString(text, "")
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		name := strings.ToLower(regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(m[1], "$1"))
		name = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(name, "")
		found = append(found, strings.ReplaceAll(name, " ", "-"))
	}
	return found
}

// programs are what a page may tell a reader to run beside those of this tree;
// infra/azure checks az itself.
var programs = strings.Fields(`az azd cat cd chmod chown cosign cp curl DEBIAN_FRONTEND docker echo export gh git go grep helm install
	kubectl kill node npm nginx od openssl printf psql rm sed sh sha256sum sleep sudo systemctl tail watch xargs`)

// Every command of a page exists: a script of this tree, a command of a program of
// it, a package that go builds, or a known program.
func TestCommandsExist(t *testing.T) {
	subcommands := map[string][]string{
		"sidecar": uses(t, "sidecar/cmd/sidecar"), "sluice": uses(t, "sidecar/cmd/sidecar"), "app": uses(t, "app/internal/cli"), "rehearsal": uses(t, "infra/cmd/rehearsal"),
	}
	commands := 0
	for _, page := range pages(t) {
		for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```").FindAllStringSubmatch(readPage(t, page), -1) {
			text := strings.ReplaceAll(block[1], "\\\n", " ")
			for line := range strings.Lines(text) {
				words := commandOf(line)
				if len(words) == 0 {
					continue
				}
				commands++
				name := strings.TrimPrefix(words[0], "bin/")
				switch known, ours := subcommands[name]; {
				case strings.HasPrefix(name, "scripts/"), strings.HasPrefix(name, "infra/"):
					if _, err := os.Stat(filepath.Join(top, name)); err != nil {
						t.Errorf("%s: %s is not there", page, name)
					}
				case ours:
					if len(words) > 1 && !slices.Contains(known, words[1]) && words[1] != "completion" {
						t.Errorf("%s: %s has no command %s", page, name, words[1])
					}
				case name == "withpg": // it runs the rest
				case !slices.Contains(programs, name):
					t.Errorf("%s: what is %q in: %s", page, name, line)
				}
				for _, word := range words {
					if path, is := strings.CutPrefix(word, "./"); is && strings.Contains(path, "/cmd/") {
						if _, err := os.Stat(filepath.Join(top, path)); err != nil && !strings.Contains(page, "app.md") {
							t.Errorf("%s: %s is not there", page, word)
						}
					}
				}
			}
		}
	}
	if commands < 60 {
		t.Errorf("only %d commands", commands)
	}
}

// commandOf returns a line's command and its arguments, without the variables
// before it and the comment after it.
func commandOf(line string) []string {
	line = regexp.MustCompile(`\$\([^)]*\)`).ReplaceAllString(line, "VALUE")
	line, _, _ = strings.Cut(line, " #")
	words := strings.Fields(line)
	for len(words) > 0 && regexp.MustCompile(`^[A-Za-z_]+=`).MatchString(words[0]) {
		words = words[1:]
	}
	if len(words) > 0 && strings.HasPrefix(words[0], "#") {
		return nil
	}
	return words
}

// uses are the commands that a package of cobra commands declares.
func uses(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(top, dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", dir, err)
	}
	for _, file := range files {
		for _, m := range regexp.MustCompile(`Use:\s+"([a-z-]+)`).FindAllStringSubmatch(readPage(t, file), -1) {
			names = append(names, m[1])
		}
	}
	return names
}
