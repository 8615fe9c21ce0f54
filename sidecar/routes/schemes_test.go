package routes

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"sluice/sidecar/senders"
	"sluice/sidecar/yamlfile"
)

// own is a file with a sender that this repository does not know.
const own = `senders:
  acme:
    signature: {from: header:X-Acme, split: ",", prefix: "v1="}
    timestamp: {from: header:X-Acme, split: ",", prefix: "t="}
    base: "{timestamp}.{body}"
    id: json:id
    event: [header:X-Acme-Kind, json:type]
    lane: account
    status: 200
    body: "[accepted]"
    budget: 3s
    handshake: [{when: {method: GET, query: hello}, reply: {body: "{query:hello}"}}]
routes:
  - {name: shop, path: /shop, sender: acme, secrets: [{env: STRIPE_ACCOUNT}]}
`

func TestSendersOfAFile(t *testing.T) {
	routes, err := ParseFile("routes.yaml", []byte(own), sampleSecrets)
	if err != nil {
		t.Fatal(err)
	}
	r, traits := routes[0], routes[0].Sender.Traits()
	if got := fmt.Sprintln(r.Name, traits.Name, r.Lane, r.Status, r.Budget, traits.HoldBody, traits.OpenHandshake); got != "shop acme [account] 200 3s [accepted] true\n" {
		t.Errorf("the route is %s", got)
	}
	if _, ok := r.Sender.(senders.Resigner); !ok {
		t.Error("it is not signed afresh")
	}
	if err := validate(schema(t), own); err != nil {
		t.Error(err)
	}
}

// Every problem of a scheme has its own line; a route of a broken sender adds none.
func TestProblemsOfSenders(t *testing.T) {
	const text = `senders:
  github: {signature: header:X}
  Acme:
    signature: header:X
  acme:
    signature:
      from: header:X Y
    colour: red
    base: 5
    handshake:
      - when: {method: GET, query: a}
        reply: {status: x}
  other:
    signature: {from: nowhere}
    mac: md5
    timestamp:
      from: header:T
      tolerance: soon
    event:
      - header:A
      - header:B C
    body: x
    status: 204
  text: x
routes:
  - {name: a, path: /a, sender: other, verify: none}
  - {name: b, path: /b, sender: acme, verify: none}
`
	_, err := ParseFile("f", []byte(text), sampleSecrets)
	var problems yamlfile.Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	var got []string
	for _, p := range problems {
		parts := strings.SplitN(p.Reason, ": ", 3)
		got = append(got, fmt.Sprint(p.Line, " ", strings.Join(parts[:len(parts)-1], " ")))
	}
	want := []string{
		"2 senders", "3 senders.Acme", "8 senders.acme colour", "9 senders.acme base", "12 senders.acme handshake[0].reply.status",
		"14 senders.other signature[0].from", "15 senders.other mac", "16 senders.other timestamp", "18 senders.other timestamp.tolerance",
		"21 senders.other event[1].from", "22 senders.other body", "24 senders.text",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the problems are\n%v\nwant\n%s", err, strings.Join(want, "\n"))
	}
}

// The schema and the code have the same fields of a scheme, and docs/senders.md
// explains each.
func TestSchemeIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/routes.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Defs map[string]struct {
			Properties map[string]any
		} `json:"$defs"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/senders.md")
	if err != nil {
		t.Fatal(err)
	}
	_, guide, _ := strings.Cut(string(page), "## A sender of your own")
	fields := reflect.VisibleFields(reflect.TypeFor[senders.Scheme]())
	for _, field := range fields {
		name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if doc.Defs["scheme"].Properties[name] == nil {
			t.Errorf("the schema lacks %s", name)
		}
		if !strings.Contains(guide, "`"+name) && !strings.Contains(guide, "\n    "+name+":") {
			t.Errorf("docs/senders.md does not explain %s", name)
		}
	}
	if n := len(doc.Defs["scheme"].Properties); n != len(fields) {
		t.Errorf("the schema has %d fields, the code %d", n, len(fields))
	}
}

// The schema takes every scheme that ships.
func TestShippedSchemesFitTheSchema(t *testing.T) {
	s := schema(t)
	for _, name := range senders.Names() {
		scheme, ok := senders.Declared(name)
		if !ok {
			continue
		}
		text, err := yaml.Marshal(map[string]any{
			"senders": map[string]any{"x-" + name: scheme},
			"routes":  []any{map[string]any{"name": "a", "path": "/a", "sender": "x-" + name, "verify": "none"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseFile("f", text, sampleSecrets); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := validate(s, string(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
