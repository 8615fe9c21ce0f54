package docs

import (
	"os"
	"regexp"
	"testing"
)

// The three modules require each other in one direction: app, sidecar, infra.
// Without a circle each can be built and released on its own.
func TestModulesHaveNoCircle(t *testing.T) {
	requires := map[string][]string{}
	named := regexp.MustCompile(`(?m)^\s*(?:require )?sluice/(\w+) v`)
	for _, module := range []string{"app", "sidecar", "infra"} {
		text, err := os.ReadFile("../../" + module + "/go.mod")
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range named.FindAllSubmatch(text, -1) {
			requires[module] = append(requires[module], string(found[1]))
		}
	}
	if len(requires["app"]) == 0 || len(requires["sidecar"]) == 0 {
		t.Fatalf("the modules require %v: not all is read", requires)
	}
	var reach func(from, to string) bool
	reach = func(from, to string) bool {
		for _, next := range requires[from] {
			if next == to || reach(next, to) {
				return true
			}
		}
		return false
	}
	for module := range requires {
		for _, next := range requires[module] {
			if next == module || reach(next, module) {
				t.Errorf("%s requires %s, which requires %s", module, next, module)
				return
			}
		}
	}
}
