package senders

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const page = "../../docs/senders.md"

// The page's example is compiled into the package and put to a test.
func TestExampleOfDocsWorks(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, code, ok := strings.Cut(string(text), "```go\npackage senders\n")
	code, _, closed := strings.Cut(code, "```")
	if !ok || !closed {
		t.Fatal("the page has no example")
	}
	code = "package senders\n" + code
	if n := strings.Count(code, "\n"); n >= 40 {
		t.Errorf("the example has %d lines, fewer than 40 were promised", n)
	}
	const check = `package senders

import (
	"testing"
	"time"
)

func TestLinear(t *testing.T) {
	s, err := Lookup("linear")
	if err != nil {
		t.Fatal(err)
	}
	r := Request{Header: headerOf(map[string]string{linearSignature: "SUM", "Linear-Delivery": "d", "Linear-Event": "Issue"}), Body: []byte("body")}
	if err := s.Verify(r, []string{"old", "secret"}, time.Time{}); err != nil {
		t.Error(err)
	}
	if err := s.Verify(r, []string{"other"}, time.Time{}); err == nil {
		t.Error("a wrong secret passes")
	}
	if got := s.Identify(r); got != (Identity{DeliveryID: "d", Event: "Issue"}) {
		t.Errorf("%+v", got)
	}
}
`
	// printf body | openssl dgst -sha256 -hmac secret
	const sum = "dc46983557fea127b43af721467eb9b3fde2338fe3e14f51952aa8478c13d355"
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for name, content := range map[string]string{"linear.go": code, "linear_test.go": strings.Replace(check, "SUM", sum, 1)} {
		here, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		overlay.Replace[here] = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(overlay.Replace[here], []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(file, replace, 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := exec.CommandContext(t.Context(), "go", "test", "-overlay", file, "-run", "^TestLinear$", "-v", ".").CombinedOutput()
	if err != nil || !strings.Contains(string(output), "--- PASS: TestLinear") {
		t.Errorf("%v\n%s", err, output)
	}
}

// Every sender and every variable is on the page.
func TestDocsNameEverySender(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Names() {
		s, _ := Lookup(name)
		for _, want := range []string{name, s.Traits().SecretVar, s.Traits().HandshakeVar} {
			if want != "" && !strings.Contains(string(text), "`"+want+"`") {
				t.Errorf("docs/senders.md does not have `%s`", want)
			}
		}
	}
}
