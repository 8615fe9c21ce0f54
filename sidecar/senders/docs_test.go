package senders

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

const page = "../../docs/senders.md"

// The page's example verifies what the vendor's page says, and nothing else.
func TestExampleOfDocsWorks(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(text), "```yaml\nsenders:\n")
	example, _, closed := strings.Cut(example, "```")
	if !ok || !closed {
		t.Fatal("the page has no example")
	}
	schemes, err := ParseSchemes([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	s, err := schemes["webflow"].Compile("webflow")
	if err != nil {
		t.Fatal(err)
	}
	// printf '1793613600000:{"triggerType":"form_submission"}' | openssl dgst -sha256 -hmac secret
	const sum = "6b423f93d61a0037b3f1345ee1a59cea9e48aafba26bef96033128fd2376f4e9"
	now := time.Unix(1793613600, 0)
	r := Request{
		Header: headerOf(map[string]string{"X-Webflow-Signature": sum, "X-Webflow-Timestamp": "1793613600000"}),
		Body:   []byte(`{"triggerType":"form_submission"}`),
	}
	for _, tt := range []struct {
		secret string
		later  time.Duration
		want   error
	}{{"secret", 0, nil}, {"another", 0, ErrSignature}, {"secret", 6 * time.Minute, ErrStale}, {"secret", -6 * time.Minute, ErrStale}} {
		if err := s.Verify(r, []string{tt.secret}, now.Add(tt.later)); !errors.Is(err, tt.want) {
			t.Errorf("%s, %v later: %v, want %v", tt.secret, tt.later, err, tt.want)
		}
	}
	if got := s.Identify(r); got != (Identity{Event: "form_submission"}) {
		t.Errorf("%+v", got)
	}
	if _, ok := s.(Resigner); !ok {
		t.Error("it cannot be signed afresh")
	}
}

// The shipped scheme of Linear checks the time that Linear signs in the body, as
// the page's example of before did not.
func TestLinearChecksItsTime(t *testing.T) {
	for _, v := range published(t) {
		if v.Sender != "linear" {
			continue
		}
		for _, later := range []time.Duration{2 * time.Minute, -2 * time.Minute} {
			if err := known(t, "linear").Verify(v.request(), []string{v.Secret}, v.now().Add(later)); !errors.Is(err, ErrStale) {
				t.Errorf("%v later: %v", later, err)
			}
		}
	}
}

// Each sender with statuses of its own has them in the table.
func TestDocsHaveFinalStatuses(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Names() {
		traits := known(t, name).Traits()
		if len(traits.Final) == 0 {
			continue
		}
		_, row, ok := strings.Cut(string(text), "| `"+name+"` | every 4xx")
		if len(traits.Final) > 1 {
			_, row, ok = strings.Cut(string(text), "| `"+name+"` | "+strings.Join(traits.Final[:4], ", "))
		}
		row, _, _ = strings.Cut(row, "\n")
		if !ok || !strings.HasSuffix(row, "| "+strconv.Itoa(traits.Refuse)+" |") {
			t.Errorf("docs/senders.md lacks a row of %s with %v and %d", name, traits.Final, traits.Refuse)
		}
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
