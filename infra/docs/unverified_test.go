package docs

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What takes webhooks from anybody says so where a reader sees it: each page or script
// that sends one without a signature names ALLOW_UNVERIFIED.
func TestUnverifiedIsVisible(t *testing.T) {
	unsigned := regexp.MustCompile(`curl [^\n]*/hooks/`)
	for _, file := range []string{
		"README.md", "docs/first-minutes.md", "docs/bring-your-own-app.md", "docs/install.md", "docs/troubleshooting.md",
		"docs/homes/compose.md", "docs/homes/kubernetes.md", "docs/homes/systemd.md", "docs/homes/others.md", "scripts/dev", "scripts/demo",
	} {
		text, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		trial := file == "scripts/dev" || file == "scripts/demo" || unsigned.Match(text)
		if trial && !strings.Contains(string(text), "ALLOW_UNVERIFIED=") {
			t.Errorf("%s sends webhooks without a signature and does not say ALLOW_UNVERIFIED", file)
		}
	}
}
