package hooks

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
	"github.com/goccy/go-yaml"
)

// Template is text with expressions in double braces:
// "deploy {{payload.repository.full_name}}".
type Template struct {
	source  string
	parts   []part
	secrets []string // that it names
}

type part struct {
	text    string
	program *vm.Program // nil: text is literal
}

// UnmarshalYAML accepts any plain value as the template's source. Parse compiles it
// later, because only there its line is known.
func (t *Template) UnmarshalYAML(text []byte) error {
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		return fmt.Errorf("read template: %w", err)
	}
	t.source = fmt.Sprint(v)
	return nil
}

// String returns the template as written.
func (t Template) String() string { return t.source }

// compile compiles the expressions; secrets says whether they may name secrets.
func (t *Template) compile(secrets bool) error {
	t.parts, t.secrets = nil, nil
	named := &secretNames{}
	rest := t.source
	for {
		text, tail, found := strings.Cut(rest, "{{")
		if text != "" {
			t.parts = append(t.parts, part{text: text})
		}
		if !found {
			return nil
		}
		source, after, closed := strings.Cut(tail, "}}")
		if !closed {
			return errors.New(`missing "}}" after "{{"`)
		}
		program, err := compile(source, expr.AsAny(), expr.Env(withSecrets{}), expr.Patch(named))
		if err != nil {
			return err
		}
		if named.unknown {
			return errors.New(`secret takes one name in quotes: secret("NAME")`)
		}
		if len(named.names) > 0 && !secrets {
			return errors.New("secrets are for actions: what this comes to is stored")
		}
		t.secrets = named.names
		t.parts = append(t.parts, part{text: source, program: program})
		rest = after
	}
}

// Render evaluates the template for an event. A missing value is the empty string;
// lists and objects are written as JSON.
func (t Template) Render(e *Event) (string, error) {
	var out strings.Builder
	for _, p := range t.parts {
		if p.program == nil {
			out.WriteString(p.text)
			continue
		}
		s, _ := e.scope() //nolint:errcheck // a payload that is not JSON is nil in a template
		v, err := expr.Run(p.program, withSecrets{scope: s, Secret: e.secret})
		if err != nil {
			return "", fmt.Errorf("{{%s}}: %w", p.text, shorten(err))
		}
		text, err := plain(v)
		if err != nil {
			return "", fmt.Errorf("{{%s}}: %w", p.text, err)
		}
		out.WriteString(text)
	}
	return out.String(), nil
}

func plain(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case map[string]any, []any:
		b, err := json.Marshal(v)
		return string(b), err
	}
	return fmt.Sprint(v), nil
}
