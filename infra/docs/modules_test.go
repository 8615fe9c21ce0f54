package docs

import (
	"os"
	"regexp"
	"testing"
)

// The three modules require each other in one direction: app, sidecar, infra.
// Without a cycle each can be built and released on its own.
func TestModulesHaveNoCycle(t *testing.T) {
	requires := map[string][]string{}
	named := regexp.MustCompile(`(?m)^\s*(?:require )?\S+/(app|sidecar|infra) v`)
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
		t.Fatalf("the modules require %v: not every go.mod was read", requires)
	}
	reached := map[string]bool{} // from the module at hand
	var reach func(from string)
	reach = func(from string) {
		for _, next := range requires[from] {
			if !reached[next] {
				reached[next] = true
				reach(next)
			}
		}
	}
	for module := range requires {
		clear(reached)
		if reach(module); reached[module] {
			t.Errorf("%s requires itself through others: %v", module, requires)
		}
	}
}
