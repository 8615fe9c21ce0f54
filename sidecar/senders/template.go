package senders

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// template is a compiled text with variables.
type template []part

// part is a literal or a variable.
type part struct {
	kind string // "" for a literal
	text string // the literal, or what follows the variable's colon
}

const (
	varBody      = "body"
	varTimestamp = "timestamp"
	varID        = "id"
	varMethod    = "method"
	varURL       = "url"
	varSecret    = "secret"
)

var (
	baseVariables  = []string{varBody, varTimestamp, varID, varMethod, varURL, varSecret, fromHeader, fromJSON}
	replyVariables = []string{fromQuery, fromHeader, fromJSON}
	named          = []string{fromQuery, fromHeader, fromJSON} // those that are followed by a name

	variable = regexp.MustCompile(`\{([a-z_]+)(?::([^{}"]+))?\}`)
)

// compileTemplate reads a text with variables of the given kinds. A brace that
// does not begin a variable stands for itself, as in a JSON body.
func compileTemplate(text, field string, known []string, problems *Problems) template {
	var t template
	for {
		m := variable.FindStringSubmatchIndex(text)
		if m == nil {
			break
		}
		if m[0] > 0 {
			t = append(t, part{text: text[:m[0]]})
		}
		p := part{kind: text[m[2]:m[3]]}
		if m[4] >= 0 {
			p.text = text[m[4]:m[5]]
		}
		switch {
		case !slices.Contains(known, p.kind):
			problems.add(field, "must have variables of %s; it has {%s}", strings.Join(known, ", "), p.kind)
		case slices.Contains(named, p.kind) != (p.text != ""):
			problems.add(field, "must have a name after the colon of %s and only there; it has %s", strings.Join(named, ", "), text[m[0]:m[1]])
		case p.kind == fromHeader && !isToken(p.text):
			problems.add(field, "must name a header field; it has %q", p.text)
		}
		if p.kind == fromHeader {
			p.text = canonical(p.text)
		}
		t = append(t, p)
		text = text[m[1]:]
	}
	if text != "" {
		t = append(t, part{text: text})
	}
	return t
}

func (t template) has(kind string) bool {
	return slices.ContainsFunc(t, func(p part) bool { return p.kind == kind })
}

// fill returns a reply's text. escape is true for a JSON body.
func (t template) fill(r *Request, escape bool) string {
	var b strings.Builder
	for _, p := range t {
		value := p.text
		switch p.kind {
		case "":
			b.WriteString(value)
			continue
		case fromHeader:
			value = r.Header.Get(p.text)
		case fromQuery:
			value = queryOf(*r).Get(p.text)
		case fromJSON:
			value = jsonText(r.Body, p.text)
		}
		if escape {
			quoted, _ := json.Marshal(value) // a string always can be
			value = string(quoted[1 : len(quoted)-1])
		}
		b.WriteString(value)
	}
	return b.String()
}
