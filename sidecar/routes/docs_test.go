package routes

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"sluice/sidecar/senders"
)

// docs/senders.md names every sender's lane key.
func TestLanesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/senders.md")
	if err != nil {
		t.Fatal(err)
	}
	_, lanes, _ := strings.Cut(string(page), "\n## Lanes\n")
	lanes, _, _ = strings.Cut(lanes, "\n## ")
	for _, name := range senders.Names() {
		s, err := senders.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		key := naturalLane(s)
		row := fmt.Sprintf("\n| `%s` | `%s` |\n", name, strings.Join(key, "`, else `"))
		if len(key) == 0 {
			_, none, _ := strings.Cut(lanes, "\n| `standard`")
			none, _, _ = strings.Cut("`standard`"+none, "\n")
			if !strings.Contains(none, "`"+name+"`") {
				t.Errorf("%s has no lane key, and the page does not say so", name)
			}
			continue
		}
		if !strings.Contains(lanes, row) {
			t.Errorf("the page lacks %s", row)
		}
	}
}
