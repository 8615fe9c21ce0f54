package drain_test

import (
	"os/exec"
	"strings"
	"testing"
)

// Any Go app may import this package, so it has no dependencies.
func TestImportsOnlyTheStandardLibrary(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "sluice/app/drain").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(string(out)); len(got) != 1 {
		t.Errorf("imports %v", got)
	}
}
