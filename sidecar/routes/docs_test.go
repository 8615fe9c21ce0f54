package routes

import (
	"encoding/json"
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

// The page and the schema have the members that the parser reads, and contract.md the
// options of the short form.
func TestMembersAreDocumented(t *testing.T) {
	read := func(file string) string {
		text, err := os.ReadFile("../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var doc struct {
		Defs map[string]struct {
			Properties map[string]any
		} `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(read("routes.schema.json")), &doc); err != nil {
		t.Fatal(err)
	}
	page, properties := read("routes.md"), doc.Defs["route"].Properties
	for _, name := range order {
		if properties[name] == nil || !strings.Contains(page, "`"+name+"`") && !strings.Contains(page, "`"+name+": ") {
			t.Errorf("the page or the schema lacks %s", name)
		}
	}
	if len(properties) != len(order) || len(readers) != len(order) {
		t.Errorf("the schema has %d members, the parser %d", len(properties), len(order))
	}
	_, contract, _ := strings.Cut(read("contract.md"), "\n## Routes\n")
	for _, option := range []string{"name=NAME", "sync", "retry", "unverified", "200", "202", "204", "2500ms"} {
		if err := (&Route{}).option(strings.ToLower(option)); err != nil {
			t.Error(err)
		}
		if !strings.Contains(contract, "`"+option+"`") {
			t.Errorf("contract.md lacks the option %s", option)
		}
	}
}
