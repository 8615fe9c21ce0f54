package docs

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCheckUpdatesItsBlockOnly(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	const text = "a\n<!-- generated: x -->\nold\n<!-- end -->\nb\n<!-- generated: y -->\nother\n<!-- end -->\n"
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	Check(t, page, "y", "other\n")
	*update = true
	defer func() { *update = false }()
	Check(t, page, "x", "new\n")
	got, err := os.ReadFile(page)
	if want := "a\n<!-- generated: x -->\nnew\n<!-- end -->\nb\n<!-- generated: y -->\nother\n<!-- end -->\n"; err != nil || string(got) != want {
		t.Errorf("the page is %q (%v), want %q", got, err, want)
	}
}
