// Package docs checks that generated parts of the documentation match the code.
//
// It owns the markers: a generated block begins with the line
// `<!-- generated: NAME -->` and ends with `<!-- end -->`. It must never change a
// page unless the test runs with -update. Tests call it.
package docs

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated blocks into the pages of docs")

// Check fails the test unless the block of the page is as wanted. With -update it
// writes the block instead.
func Check(t *testing.T, page, block, want string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), "<!-- generated: "+block+" -->\n")
	is, after, ends := strings.Cut(rest, "<!-- end -->\n")
	if !begins || !ends {
		t.Fatalf("%s has no block %q", page, block)
	}
	if is == want {
		return
	}
	if !*update {
		t.Errorf("block %q of %s differs from the code; run this test with -update. First difference:\n%s", block, page, difference(is, want))
		return
	}
	text = []byte(before + "<!-- generated: " + block + " -->\n" + want + "<!-- end -->\n" + after)
	if err := os.WriteFile(page, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// difference returns the first lines that differ.
func difference(is, want string) string {
	for is != "" || want != "" {
		var page, code string
		page, is, _ = strings.Cut(is, "\n")
		code, want, _ = strings.Cut(want, "\n")
		if page != code {
			return "page: " + page + "\ncode: " + code
		}
	}
	return "a newline"
}
