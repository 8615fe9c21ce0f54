package hooks

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Problem is one error in a hooks file.
type Problem struct {
	File   string
	Line   int
	Reason string
}

func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Reason) }

// Problems is all errors in a hooks file, sorted by line.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// Load reads and checks the file. Errors in its content are returned as Problems.
func Load(file string) (*Rules, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, fmt.Errorf("read hooks: %w", err)
	}
	return Parse(file, text)
}

// Parse reads and checks the text of a hooks file; file is its name in
// problems.
func Parse(file string, text []byte) (*Rules, error) {
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, Problems{syntaxProblem(file, err)}
	}
	c := &checker{file: file, tree: tree}
	if err := c.schema(text); err != nil {
		return nil, Problems{syntaxProblem(file, err)}
	}
	if len(c.problems) > 0 {
		return nil, c.sorted()
	}
	var content struct {
		Hooks []*Hook `yaml:"hooks"`
	}
	if err := yaml.UnmarshalWithOptions(text, &content, yaml.Strict()); err != nil {
		return nil, Problems{syntaxProblem(file, err)}
	}
	c.hooks(content.Hooks)
	if len(c.problems) > 0 {
		return nil, c.sorted()
	}
	return &Rules{hooks: content.Hooks}, nil
}

// checker collects the problems of one file.
type checker struct {
	file     string
	tree     *ast.File
	problems Problems
}

func (c *checker) add(reason string, at ...string) {
	c.problems = append(c.problems, Problem{c.file, lineOf(c.tree, at), reason})
}

func (c *checker) sorted() Problems {
	slices.SortStableFunc(c.problems, func(a, b Problem) int { return a.Line - b.Line })
	return slices.Compact(c.problems)
}

// hooks checks what a schema cannot express, and compiles the expressions.
func (c *checker) hooks(hooks []*Hook) {
	seen := map[string]bool{}
	for i, h := range hooks {
		at := []string{"hooks", itoa(i)}
		below := func(more ...string) []string { return append(at[:2:2], more...) }
		h.fill()
		if seen[h.Name] {
			c.add(fmt.Sprintf("the name %q must be unique; a hook above has it", h.Name), below("name")...)
		}
		seen[h.Name] = true
		if h.When != "" {
			var err error
			if h.when, err = compile(h.When, expr.AsBool()); err != nil {
				c.add("when: "+err.Error(), below("when")...)
			}
		}
		if err := h.ConcurrencyKey.compile(false); err != nil {
			c.add("concurrency_key: "+err.Error(), below("concurrency_key")...)
		}
		h.Action.templates(func(t *Template, where ...string) {
			if err := t.compile(true); err != nil {
				c.add(strings.Join(where, ".")+": "+err.Error(), below(append([]string{"action"}, where...)...)...)
			}
		})
	}
}

// syntaxProblem returns the line and the reason from the YAML parser's error.
func syntaxProblem(file string, err error) Problem {
	p := Problem{File: file, Line: 1, Reason: err.Error()}
	first, _, _ := strings.Cut(yaml.FormatError(err, false, false), "\n")
	var column int
	if n, _ := fmt.Sscanf(first, "[%d:%d]", &p.Line, &column); n == 2 {
		_, p.Reason, _ = strings.Cut(first, "] ")
	}
	return p
}
