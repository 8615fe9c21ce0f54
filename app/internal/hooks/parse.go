package hooks

import (
	"fmt"
	"os"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/goccy/go-yaml"

	"sluice/sidecar/yamlfile"
)

// Load reads and checks the file. Errors in its content are returned as yamlfile.Problems.
func Load(file string) (*Rules, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, fmt.Errorf("read hooks: %w", err)
	}
	return Parse(file, text)
}

// Parse reads and checks the text of a hooks file; file is its name in
// problems. The error is yamlfile.Problems.
func Parse(file string, text []byte) (*Rules, error) {
	y, err := yamlfile.Parse(file, text)
	if err != nil {
		return nil, err
	}
	c := checker{y}
	if err := c.schema(); err != nil {
		return nil, err
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	var content struct {
		Hooks []*Hook `yaml:"hooks"`
	}
	if err := c.Decode(&content, yaml.Strict()); err != nil {
		return nil, err
	}
	c.hooks(content.Hooks)
	if err := c.Err(); err != nil {
		return nil, err
	}
	return &Rules{hooks: content.Hooks}, nil
}

// checker checks one file.
type checker struct{ *yamlfile.File }

// hooks checks what a schema cannot express, and compiles the expressions.
func (c checker) hooks(hooks []*Hook) {
	seen := map[string]bool{}
	for i, h := range hooks {
		at := []string{"hooks", itoa(i)}
		below := func(more ...string) []string { return append(at[:2:2], more...) }
		h.fill()
		if seen[h.Name] {
			c.Report(fmt.Sprintf("the name %q must be unique; a hook above has it", h.Name), below("name")...)
		}
		seen[h.Name] = true
		if h.When != "" {
			var err error
			if h.when, err = compile(h.When, expr.AsBool()); err != nil {
				c.Report("when: "+err.Error(), below("when")...)
			}
		}
		if err := h.ConcurrencyKey.compile(false); err != nil {
			c.Report("concurrency_key: "+err.Error(), below("concurrency_key")...)
		}
		h.Action.templates(func(t *Template, where ...string) {
			if err := t.compile(true); err != nil {
				c.Report(strings.Join(where, ".")+": "+err.Error(), below(append([]string{"action"}, where...)...)...)
			}
		})
	}
}
