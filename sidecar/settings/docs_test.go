package settings

import (
	"os"
	"strings"
	"testing"
)

// README.md and contract.md name the default routes as they are.
func TestDefaultRoutesAreDocumented(t *testing.T) {
	contract, err := os.ReadFile("../../docs/contract.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(contract), "\n"+defaultRoutes+"\n") {
		t.Errorf("contract.md does not have %s", defaultRoutes)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for route := range strings.SplitSeq(defaultRoutes, ",") {
		path, _, _ := strings.Cut(route, "=")
		if !strings.Contains(string(readme), path+"`") {
			t.Errorf("README.md does not name %s", path)
		}
	}
	if strings.Contains(string(readme), "/hooks/") {
		t.Error("README.md names a route that is no default")
	}
}
