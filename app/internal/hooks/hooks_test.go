package hooks_test

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/app/internal/hooks"
)

func parse(t *testing.T, text string) *hooks.Rules {
	t.Helper()
	rules, err := hooks.Parse("hooks.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// push is an event as GitHub sends it.
func push() *hooks.Event {
	return &hooks.Event{
		ID: "id-1", Source: "github", Event: "push", DeliveryID: "d1", Verified: true,
		ReceivedAt: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		Header:     map[string][]string{"X-Github-Event": {"push"}, "Content-Type": {"application/json"}},
		Body:       []byte(`{"ref":"refs/heads/main","size":3,"id":9007199254740993,"repository":{"full_name":"o/r","private":false},"commits":[{"id":"a"}]}`),
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		name, rule string
		want       bool
		problem    string
	}{
		{"anything", ``, true, ""},
		{"source", `source: github`, true, ""},
		{"other source", `source: slack`, false, ""},
		{"event glob", `event: pu*`, true, ""},
		{"other event", `event: issue*`, false, ""},
		{"condition", `when: payload.ref == "refs/heads/main"`, true, ""},
		{"condition fails", `when: payload.ref == "refs/heads/x"`, false, ""},
		{"missing member", `when: payload.pull_request.base.ref == "main"`, false, ""},
		{"missing member compared", `when: payload.pull_request.number == nil`, true, ""},
		{"number", `when: payload.size > 2`, true, ""},
		{"large number", `when: payload.id == 9007199254740993`, true, ""},
		{"header", `when: header("X-GitHub-Event") == "push"`, true, ""},
		{"headers", `when: headers["x-github-event"] == "push"`, true, ""},
		{"nil and an operator", `when: payload.nothing startsWith "a"`, false, ""},
		{"list", `when: any(payload.commits, .id == "a")`, true, ""},
		{"list in a list of nothing", `when: any(payload.commits ?? [], .author.name == "a")`, false, ""},
		{"time", `when: received_at.Year() == 2026`, true, ""},
		{"not a condition", `when: payload.size`, false, "when: "},
		{"fails at run", `when: payload.size startsWith "a"`, false, "when: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rules := parse(t, "hooks:\n  - name: x\n    action: {log: {}}\n    "+tt.rule+"\n")
			found, problems := rules.Match(push())
			if got := len(found) == 1; got != tt.want {
				t.Errorf("matches: %t, problems %v", got, problems)
			}
			if tt.problem == "" && len(problems) > 0 {
				t.Errorf("problems: %v", problems)
			}
			if tt.problem != "" && (len(problems) != 1 || !strings.Contains(problems[0].Error(), tt.problem)) {
				t.Errorf("problems: %v, want %s", problems, tt.problem)
			}
		})
	}
}

func TestKeyAndTemplates(t *testing.T) {
	rules := parse(t, `
hooks:
  - name: deploy
    concurrency_key: "{{payload.repository.full_name}}/{{ payload.none }}"
    action:
      exec:
        argv: [echo, "{{payload.id}} {{payload.repository.private}}", "{{payload.commits}}"]
        env: {REF: "{{payload.ref}}"}
`)
	found, problems := rules.Match(push())
	if len(found) != 1 || len(problems) > 0 {
		t.Fatalf("found %v, problems %v", found, problems)
	}
	if want := "deploy\x1fo/r/"; found[0].Key != want {
		t.Errorf("key %q, want %q", found[0].Key, want)
	}
	exec := found[0].Hook.Action.Exec
	var got []string
	for _, arg := range append(exec.Argv, exec.Env["REF"]) {
		text, err := arg.Render(push())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, text)
	}
	want := `echo|9007199254740993 false|[{"id":"a"}]|refs/heads/main`
	if strings.Join(got, "|") != want {
		t.Errorf("got %q", got)
	}
}

func TestForm(t *testing.T) {
	e := push()
	e.Header = map[string][]string{"content-type": {"application/x-www-form-urlencoded"}}
	e.Body = []byte(`payload=%7B%22ref%22%3A%22main%22%7D`)
	rules := parse(t, "hooks:\n  - {name: x, when: 'payload.ref == \"main\"', action: {log: {}}}\n")
	if found, problems := rules.Match(e); len(found) != 1 {
		t.Errorf("a form's payload is not read: %v", problems)
	}
}

// Every problem is named with its line.
func TestProblems(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"syntax", "hooks:\n  - name: [\n", "hooks.yaml:2: "},
		{"unknown field", "hooks:\n  - name: a\n    evnt: push\n    action: {log: {}}\n", `hooks.yaml:3: unknown field "evnt"`},
		{"no name", "hooks:\n  - action: {log: {}}\n", "hooks.yaml:2: missing property 'name'"},
		{"no action", "hooks:\n  - name: a\n", "hooks.yaml:2: missing property 'action'"},
		{"two actions", "hooks:\n  - name: a\n    action:\n      log: {}\n      http: {url: x}\n", "hooks.yaml:3: action: "},
		{"argv and shell", "hooks:\n  - name: a\n    action:\n      exec: {argv: [x], shell: x}\n", "hooks.yaml:4: action.exec: needs exactly one"},
		{"duration", "hooks:\n  - name: a\n    timeout: soon\n    action: {log: {}}\n", "hooks.yaml:3: timeout: "},
		{"condition", "hooks:\n  - name: a\n    when: payload. ==\n    action: {log: {}}\n", "hooks.yaml:3: when: "},
		{"unknown name", "hooks:\n  - name: a\n    when: paylod.x == 1\n    action: {log: {}}\n", "unknown name paylod"},
		{"template", "hooks:\n  - name: a\n    action:\n      exec:\n        argv:\n          - x\n          - \"{{payload\"\n", "hooks.yaml:7: "},
		{"same name", "hooks:\n  - {name: a, action: {log: {}}}\n  - {name: a, action: {log: {}}}\n", "hooks.yaml:3: the name"},
		{"two at once", "hooks:\n  - {name: a, x: 1, action: {log: {}}}\n  - {name: b, y: 1, action: {log: {}}}\n", "hooks.yaml:3: unknown field \"y\""},
		{"empty", "", "hooks.yaml:1: "},
		{"number for text", "hooks:\n  - {name: a, event: 1, action: {log: {}}}\n", "hooks.yaml:2: event: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := hooks.Parse("hooks.yaml", []byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want %q", err, tt.want)
			}
		})
	}
}

func TestPause(t *testing.T) {
	r := hooks.Retries{Backoff: time.Second, MaxBackoff: 10 * time.Second}
	for attempt, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 5: 10 * time.Second, 900: 10 * time.Second} {
		if got := r.Pause(attempt); got != want {
			t.Errorf("after attempt %d: %s, want %s", attempt, got, want)
		}
	}
}

// The fields come in the payload's own order, the same each time; a payload cannot
// set the variable of the payload's file, nor a name twice.
func TestFields(t *testing.T) {
	text := `{"file":"/etc/passwd","z":{"full name":"o/r","private":false,"deep":{"x":{"y":1}}},"list":[{"a":1}],"n":null,"z_private":"later","a":1e3,"id":9007199254740993}`
	want := []hooks.Field{{"Z_FULL_NAME", "o/r"}, {"Z_PRIVATE", "false"}, {"A", "1000"}, {"ID", "9007199254740993"}}
	for range 20 {
		e := &hooks.Event{Body: []byte(text)}
		if got := e.Fields(3, 4, 100); !slices.Equal(got, want) {
			t.Fatalf("fields %v, want %v", got, want)
		}
	}
	form := &hooks.Event{Body: []byte("b=2&a=x+y&file=no"), Header: map[string][]string{"Content-Type": {"application/x-www-form-urlencoded"}}}
	if got := form.Fields(3, 4, 100); !slices.Equal(got, []hooks.Field{{"B", "2"}, {"A", "x y"}}) {
		t.Errorf("fields of a form %v", got)
	}
	packed := &hooks.Event{Body: []byte(`payload=%7B%22a%22%3A1%7D&b=2`), Header: map[string][]string{"Content-Type": {"application/x-www-form-urlencoded"}}}
	if got := packed.Fields(3, 4, 100); !slices.Equal(got, []hooks.Field{{"A", "1"}}) {
		t.Errorf("fields of a form with JSON %v", got)
	}
}

func TestSchemaIsJSON(t *testing.T) {
	if !json.Valid(hooks.Schema) {
		t.Error("the schema is not JSON")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("hooks:\n  - name: a\n    when: payload.x == 1\n    action:\n      exec: {argv: [\"{{payload.y}}\"]}\n")
	f.Add("hooks: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := hooks.Parse("f", []byte(text))
		if err == nil {
			rules.Match(push())
		}
	})
}

func FuzzPayload(f *testing.F) {
	rules, err := hooks.Parse("f", []byte("hooks:\n  - name: a\n    when: payload.a.b[0].c == 1 && payload.d contains \"e\"\n    concurrency_key: '{{payload.f}}'\n    action: {log: {}}\n"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"a":{"b":[{"c":1}]},"d":"e","f":1e400}`), "application/json")
	f.Fuzz(func(_ *testing.T, body []byte, contentType string) {
		e := &hooks.Event{Body: body, Header: map[string][]string{"Content-Type": {contentType}}}
		rules.Match(e)
		e.Fields(3, 10, 100)
	})
}

// The examples in the documentation are valid.
func TestDocumentedExamples(t *testing.T) {
	page, err := os.ReadFile("../../../docs/app.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```yaml\n")
	if len(blocks) < 2 {
		t.Fatal("the page has no example")
	}
	for _, block := range blocks[1:] {
		text, _, _ := strings.Cut(block, "```")
		parse(t, text)
	}
}

// A hook may name its route, and a condition sees how the webhook came. A command
// wants a verified webhook unless its hook says otherwise; anything else does not.
func TestRouteAndVerified(t *testing.T) {
	const run, log = `action: {exec: {argv: [x]}}`, `action: {log: {}}`
	tests := []struct {
		rule     string
		verified bool
		want     bool
	}{
		{"route: pay, " + log, false, true},
		{"route: ci, " + log, false, false},
		{"route: '*', " + log, false, true},
		{"when: 'route == \"pay\" && method == \"POST\" && path == \"/hooks/pay\" && query.a == \"1 2\" && not verified', " + log, false, true},
		{"when: 'query.none == \"\" && verified', " + log, true, true},
		{"when: verified, " + log, false, false},
		{run, false, false},
		{run, true, true},
		{"require_verified: false, " + run, false, true},
		{"require_verified: true, " + log, false, false},
		{"require_verified: true, " + log, true, true},
	}
	for _, tt := range tests {
		e := push()
		e.Route, e.Method, e.Path, e.Query, e.Verified = "pay", "POST", "/hooks/pay", "a=1%202&a=3&b", tt.verified
		found, problems := parse(t, "hooks:\n  - {name: x, "+tt.rule+"}\n").Match(e)
		if (len(found) == 1) != tt.want {
			t.Errorf("%s, verified %t: matches %t", tt.rule, tt.verified, !tt.want)
		}
		for _, err := range problems {
			if !errors.Is(err, hooks.ErrUnverified) || tt.verified {
				t.Errorf("%s: %v", tt.rule, err)
			}
		}
	}
}

// What a file of an earlier release relied on is told; one that says what it needs is
// not talked about.
func TestAdvice(t *testing.T) {
	rules := parse(t, `
hooks:
  - {name: old, action: {exec: {shell: 'curl -H "Authorization: $GITHUB_TOKEN" "$SLUICE_PAYLOAD_URL"; X_Y=1; echo $X_Y $HOME; cat "$SLUICE_PAYLOAD_FILE"'}}}
  - {name: script, require_verified: true, action: {exec: {argv: [/bin/sh, -e, /srv/deploy.sh]}}}
  - {name: said, require_verified: true, action: {exec: {argv: [sh, -c, 'echo $GITHUB_TOKEN ${MINE}'], inherit: [GITHUB_TOKEN], env: {MINE: x}}}}
  - {name: file, require_verified: false, action: {exec: {shell: 'cat $SLUICE_PAYLOAD_FILE', payload: file}}}
  - {name: on, source: gitlab, action: {http: {url: "https://a.example"}}}
  - {name: listed, source: gitlab, action: {http: {url: "https://a.example", forward: [X-Gitlab-Token]}}}
`)
	got := rules.Advice(func(file string) string {
		if file != "/srv/deploy.sh" {
			t.Errorf("reads %s", file)
		}
		return "#!/bin/sh\nfor HOST in a b; do ssh $HOST \"$DEPLOY_KEY\"; done\n"
	})
	want := []string{
		`"old": only verified webhooks`, `"old": SLUICE_PAYLOAD_FILE is set with payload: file`, `"old": the command uses GITHUB_TOKEN,`, `"old": SLUICE_PAYLOAD_*`,
		`"script": the command uses DEPLOY_KEY,`, `"on": http does not forward`,
	}
	if len(got) != len(want) {
		t.Errorf("%d of %d: %s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range min(len(got), len(want)) {
		if !strings.HasPrefix(got[i], "hook "+want[i]) {
			t.Errorf("advice %q, want %q", got[i], want[i])
		}
	}
}
