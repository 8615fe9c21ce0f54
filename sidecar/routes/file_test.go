package routes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"sluice/sidecar/yamlfile"
)

const sample = `routes:
  - name: account
    path: /webhooks/stripe
    sender: stripe
    secrets: [{env: STRIPE_ACCOUNT}, {file: /run/old}]
    errors: retry
  - {name: connect, path: /webhooks/connect, sender: stripe, secrets: [{env: STRIPE_CONNECT}], lane: "-", budget: 5s}
  - name: ci
    path: /hooks/ci/*
    sender: generic
    header: X-Signature
    secrets: [{env: COMMA}]
    lane: ["header:X-Project", project.id]
    status: 204
    methods: [POST, PUT]
    networks: [192.0.2.0/24, "2001:db8::1"]
    max_body_bytes: 1000
  - {name: open, path: /hooks/open, sender: generic, verify: none, sync: true, errors: return}
  - {name: page, path: /meta, sender: meta, secrets: [{env: COMMA}], handshake_secrets: [{env: STRIPE_CONNECT}]}
`

// sampleSecrets are those that the sample names.
var sampleSecrets = Options{
	Secret: func(name string) string {
		return map[string]string{"STRIPE_ACCOUNT": "whsec_account", "STRIPE_CONNECT": "whsec_connect", "COMMA": "v1,whsec_with a comma", "SHORT": "hunter2"}[name]
	},
	SecretFile: func(path string) (string, error) {
		if path == "/run/old" {
			return "whsec_old", nil
		}
		return "", os.ErrNotExist
	},
}

func TestParseFile(t *testing.T) {
	routes, err := ParseFile("routes.yaml", []byte(sample), sampleSecrets)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range routes {
		got = append(got, fmt.Sprintf("%v %s %q %q %d %s sync=%v retry=%v open=%v %v %v %d", r, r.Sender.Traits().Name, r.Secrets, r.Lane, r.Status, r.Budget, r.Sync, r.Retry, r.Unverified, r.Methods, r.Networks, r.MaxBody))
	}
	want := []string{
		`/webhooks/stripe=account stripe ["whsec_account" "whsec_old"] ["account"] 200 8s sync=false retry=true open=false [] [] 0`,
		`/webhooks/connect=connect stripe ["whsec_connect"] [] 200 5s sync=false retry=false open=false [] [] 0`,
		`/hooks/ci/*=ci generic ["v1,whsec_with a comma"] ["header:X-Project" "project.id"] 204 8s sync=false retry=false open=false [POST PUT] [192.0.2.0/24 2001:db8::1/128] 1000`,
		`/hooks/open=open generic [] [] 202 8s sync=true retry=false open=true [] [] 0`,
		`/meta=page meta ["v1,whsec_with a comma"] ["entry.0.id"] 200 4s sync=false retry=false open=false [] [] 0`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("routes are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if h := routes[4].HandshakeSecrets; len(h) != 1 || h[0] != "whsec_connect" {
		t.Errorf("the handshake has %v", h)
	}
	for addr, want := range map[string]bool{"192.0.2.9": true, "::ffff:192.0.2.9": true, "2001:db8::1": true, "192.0.3.1": false, "2001:db8::2": false} {
		if routes[2].Admits(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s: admitted %v", addr, !want)
		}
	}
}

// Every problem is named with its line, and no secret with any.
func TestProblemsOfAFile(t *testing.T) {
	const text = `rules: []
routes:
  - name: A
    path: drain
    sender: nobody
  - name: ci
    path: /ci
    sender: github
    color: red
    status: 201
    budget: soon
    lane: "header:"
  - {name: ci, path: /ci2, sender: github, secrets: [{env: STRIPE_ACCOUNT}]}
  - {name: ci2, path: /x, sender: github, secrets: [{env: STRIPE_ACCOUNT}]}
  - {name: ci2, path: /y, sender: github, secrets: [{env: STRIPE_ACCOUNT}]}
  - name: p
    path: /x
    sender: github
    secrets:
      - env: SHORT
      - env: ABSENT
      - file: /absent
      - {env: A, file: B}
  - {name: q, path: /q, sender: github, verify: none, secrets: [{env: STRIPE_ACCOUNT}]}
  - {name: r, path: /r, sender: generic, secrets: [{env: STRIPE_ACCOUNT}]}
  - {name: s, path: /s, sender: slack, verify: none, sync: true, errors: retry}
  - {path: /t}
  - {name: u, path: /x, sender: slack, verify: none}
  - text
`
	_, err := ParseFile("routes.yaml", []byte(text), sampleSecrets)
	var problems yamlfile.Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	var lines []string
	for _, p := range problems {
		lines = append(lines, fmt.Sprintf("%d %s", p.Line, strings.TrimSpace(p.Reason[:min(len(p.Reason), 24)])))
	}
	want := []string{
		`1 unknown member "rules"`, "3 name: must be up to 63 o", "3 secrets are missing, suc", "4 path: path must begin wi", "5 sender: unknown sender \"",
		"6 secrets are missing, suc", "9 color: is no member of a", "10 status: status must be 2", "11 budget: must be a durati", "12 lane: lane key must be a",
		"13 name: must be unique; a", "15 name: must be unique; a", "17 path: must be unique; a", "20 secrets: SHORT must have", "21 secrets: ABSENT is not s", "22 secrets: the file /absen", "23 secrets: a secret must b",
		"24 verify: none and secrets", "25 secrets need a header wi", "26 errors: must not be retr", "27 name is missing", "27 sender is missing", "27 secrets are missing, suc",
		"28 path: must be unique; a", "29 a route must be a mappin",
	}
	if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the problems are\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "whsec_") {
		t.Errorf("a secret is printed: %v", err)
	}
	for _, bad := range []string{"", "[", "routes: {}", "routes: []", "a: &a\n", "routes:\n - {name: a, name: b}", "- x", "---\nroutes: []\n---\nroutes: []\n"} {
		if _, err := ParseFile("f", []byte(bad), sampleSecrets); !errors.As(err, &problems) || problems[0].Line < 1 {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// In the app SLUICE_SECRET suffices: what it lacks closes a route, no more.
func TestFileWithoutSecrets(t *testing.T) {
	o := sampleSecrets
	o.Close, o.Secret = true, func(string) string { return "" }
	o.SecretFile = func(string) (string, error) { return "", os.ErrNotExist }
	routes, err := ParseFile("routes.yaml", []byte(sample), o)
	if err != nil {
		t.Fatal(err)
	}
	if !routes[0].Closed() || !routes[2].Closed() || routes[3].Closed() {
		t.Errorf("the routes are %v", routes)
	}
}

// schema returns the JSON Schema beside the docs.
func schema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("../../docs/routes.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("routes.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("routes.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(s *jsonschema.Schema, text string) error {
	var content any
	if err := yaml.Unmarshal([]byte(text), &content); err != nil {
		return err
	}
	asJSON, err := json.Marshal(content)
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

// The schema and the parser accept and refuse the same members and values. What the
// schema cannot say (a name is unique, a variable is set) is not in this table.
func TestSchemaAgrees(t *testing.T) {
	s := schema(t)
	if err := validate(s, sample); err != nil {
		t.Errorf("the sample: %v", err)
	}
	route := func(members string) string {
		return "routes: [{name: a, path: /a, sender: meta, " + members + "}]"
	}
	open := func(members string) string { return route("verify: none, " + members) }
	values := map[string][]string{
		"lane":              {"a.b", "-", "header:X", "'header:'", "''", "[a, 'form:b']", "[]", "['-']", "['-', a]", "[a, '-']", "1", "form", "header", "[header]"},
		"status":            {"200", "202", "204", "201", "'200'", "200.5", "true"},
		"budget":            {"8s", "1m30s", "0.5s", ".5s", "5", "''", "-1s", "'1 s'", "8", "1d"},
		"sync":              {"true", "false", "'true'", "1"},
		"errors":            {"retry", "return", "never", "true"},
		"methods":           {"[POST]", "[PUT, PATCH, DELETE]", "[]", "[GET]", "POST", "[1]"},
		"networks":          {"[192.0.2.1]", "[]", "x", "[1]", "['']"},
		"max_body_bytes":    {"1", "0", "-1", "1.5", "'1'", "1099511627776", "1099511627777"},
		"verify":            {"none", "false", "always"},
		"color":             {"red"},
		"handshake_secrets": {"[{env: STRIPE_CONNECT}]", "[{file: /run/old}]", "[]", "[{}]", "[{env: ''}]", "[{env: STRIPE_CONNECT, file: /run/old}]", "[STRIPE_CONNECT]", "{env: STRIPE_CONNECT}", "[{key: x}]"},
		"secrets":           {"[{env: STRIPE_CONNECT}]", "[{file: /run/old}]", "[]", "[1]", "[{env: 1}]"},
	}
	for member, list := range values {
		for _, value := range list {
			text := open(member + ": " + value)
			if member == "secrets" || member == "verify" {
				text = route(member + ": " + value)
			}
			_, err := ParseFile("f", []byte(text), sampleSecrets)
			if invalid := validate(s, text); (err == nil) != (invalid == nil) {
				t.Errorf("%s\nparser: %v\nschema: %v", text, err, invalid)
			}
		}
	}
	for _, text := range []string{
		"routes: []", "routes: {}", "{}", "[]", "routes: [1]", "routes: [{}]", "{routes: [{name: a, path: /a, sender: meta, verify: none}], x: 1}",
		"routes: [{name: A, path: /a, sender: meta, verify: none}]", "routes: [{name: a, path: a, sender: meta, verify: none}]",
		"routes: [{name: a, path: /a*b, sender: meta, verify: none}]", "routes: [{name: a, path: /a*, sender: meta, verify: none}]", "routes: [{name: a, path: /*, sender: meta, verify: none}]",
		"routes: [{name: a, path: /a, sender: generic, header: X-Sig, secrets: [{env: STRIPE_CONNECT}]}]", "routes: [{name: a, path: /a, sender: generic, header: 'X Sig', secrets: [{env: STRIPE_CONNECT}]}]",
		"routes: [{name: a, path: /a, sender: 1, verify: none}]", "routes: [{name: 1, path: /a, sender: meta, verify: none}]", "routes: [{path: /a, sender: meta, verify: none}]",
	} {
		_, err := ParseFile("f", []byte(text), sampleSecrets)
		if invalid := validate(s, text); (err == nil) != (invalid == nil) {
			t.Errorf("%s\nparser: %v\nschema: %v", text, err, invalid)
		}
	}
}

// FuzzParseFile: whatever is in the file, it is refused with lines, or gives routes
// that can be served, and then the schema accepts it too.
func FuzzParseFile(f *testing.F) {
	f.Add(sample)
	f.Add(own)
	for _, seed := range []string{"routes: [{name: a, path: /a, sender: slack, verify: none}]", "routes:\n - &a {name: a}\n - *a", "a: !!str b", "\ufeffroutes: []", "? [a]\n: b", "routes: [{name: a, path: '/a*', sender: generic, header: X, secrets: [{env: COMMA}]}]"} {
		f.Add(seed)
	}
	s := schema(f)
	f.Fuzz(func(t *testing.T, text string) {
		routes, err := ParseFile("f", []byte(text), sampleSecrets)
		if err != nil {
			var problems yamlfile.Problems
			if !errors.As(err, &problems) || len(problems) == 0 || problems[0].Line < 1 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		seen := map[string]bool{}
		for _, r := range routes {
			if r.Closed() || r.Sender == nil || r.Budget <= 0 || seen[r.Name] || seen[r.Pattern()] || !strings.HasPrefix(r.Path, "/") || IsDrain(r.Path) {
				t.Fatalf("%q: route %v", text, r)
			}
			seen[r.Name], seen[r.Pattern()] = true, true
		}
		if err := validate(s, text); err != nil {
			t.Fatalf("%q: the schema refuses it: %v", text, err)
		}
	})
}
