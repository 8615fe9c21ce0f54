package hooks

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

// The schema, the page and the code name the same members of a hook and the same
// names in expressions.
func TestHooksAreDocumented(t *testing.T) {
	read := func(file string) string {
		t.Helper()
		text, err := os.ReadFile("../../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var schema struct {
		Defs struct {
			Hook struct {
				Properties map[string]struct{ Description string }
			}
			Action struct {
				Properties map[string]struct{ Properties map[string]any }
			}
		} `json:"$defs"`
	}
	if err := json.Unmarshal(Schema, &schema); err != nil {
		t.Fatal(err)
	}
	page, hook := read("docs/app.md"), schema.Defs.Hook.Properties
	_, expressions, _ := strings.Cut(page, "**Conditions and templates.**")
	expressions, _, _ = strings.Cut(expressions, "\n")
	for _, name := range tags(scope{}, "expr") {
		if !strings.Contains(expressions, "`"+name) {
			t.Errorf("the page does not say that expressions know %s", name)
		}
		if !strings.Contains(hook["when"].Description, name) {
			t.Errorf("the schema does not say that expressions know %s", name)
		}
	}
	members := tags(Hook{}, "yaml")
	if len(members) != len(hook) {
		t.Errorf("the schema has %d members of a hook, the code %d", len(hook), len(members))
	}
	_, example, _ := strings.Cut(page, "```yaml")
	example, _, _ = strings.Cut(example, "```")
	for _, name := range members {
		if _, ok := hook[name]; !ok || !strings.Contains(example, name+":") {
			t.Errorf("the schema or the page's example lacks %s", name)
		}
	}
	for _, c := range []struct {
		action string
		value  any
	}{{"exec", Exec{}}, {"http", HTTP{}}} {
		for _, name := range tags(c.value, "yaml") {
			if _, ok := schema.Defs.Action.Properties[c.action].Properties[name]; !ok || !strings.Contains(page, name) {
				t.Errorf("the schema or the page lacks %s of %s", name, c.action)
			}
		}
	}
	for _, said := range []string{"`require_verified: false`", "`SLUICE_PAYLOAD_*`", "`forward`", "`inherit`", "`app hooks check`"} {
		for _, file := range []string{"CHANGELOG.md", "docs/upgrading.md"} {
			if !strings.Contains(read(file), said) {
				t.Errorf("%s does not say %s", file, said)
			}
		}
	}
}

// tags returns the names that a struct's fields have in that tag.
func tags(of any, tag string) []string {
	var names []string
	for _, field := range reflect.VisibleFields(reflect.TypeOf(of)) {
		if name := field.Tag.Get(tag); name != "" {
			names = append(names, name)
		}
	}
	return names
}
