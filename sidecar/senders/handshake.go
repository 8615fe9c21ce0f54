package senders

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// shake is a compiled Handshake.
type shake struct {
	method  []string
	when    []condition
	status  int
	kind    string
	headers map[string]template
	body    template
}

// condition asks for a value, want "" for any.
type condition struct {
	from extractor
	want string
}

const (
	plainText = "text/plain"
	jsonBody  = "application/json"
)

func compileShake(h Handshake, field string, problems *Problems) shake {
	s := shake{status: h.Reply.Status, kind: h.Reply.Type, method: []string{"POST"}}
	method := strings.ToUpper(h.When.Method)
	open := []string{"GET", "HEAD", "OPTIONS"}
	switch {
	case h.Signed && method != "" && method != "POST":
		problems.add(field+".when.method", "must be POST for a signed handshake; it is %s", method)
	case !h.Signed && !slices.Contains(open, method):
		// What comes by POST may bring an event, which would pass unverified.
		problems.add(field+".when.method", "must be GET, HEAD or OPTIONS for a handshake that is not signed")
	case !h.Signed:
		s.method = []string{method}
	}
	for _, c := range []struct{ kind, text, field string }{
		{fromHeader, h.When.Header, ".when.header"}, {fromQuery, h.When.Query, ".when.query"}, {fromJSON, h.When.JSON, ".when.json"},
	} {
		if c.text == "" {
			continue
		}
		name, want, _ := strings.Cut(c.text, "=")
		for _, x := range compileSource(Source{From: c.kind + ":" + name}, field+c.field, problems) {
			s.when = append(s.when, condition{x, strings.TrimSpace(want)})
		}
	}
	if len(s.when) == 0 && (h.Signed || method != "HEAD") {
		problems.add(field+".when", "must have a condition on header, query or json")
	}
	compileReply(&s, h.Reply, field+".reply", problems)
	return s
}

func compileReply(s *shake, r Reply, field string, problems *Problems) {
	switch {
	case s.status == 0:
		s.status = 200
	case s.status < 200 || s.status > 299:
		problems.add(field+".status", "must be 200 to 299; it is %d", s.status)
	}
	switch s.kind {
	case "":
		s.kind = plainText
	case plainText, jsonBody:
	default: // a browser would run what a stranger put into the query
		problems.add(field+".type", "must be text/plain or application/json; it is %q", s.kind)
	}
	s.body = compileTemplate(r.Body, field+".body", replyVariables, problems)
	s.headers = map[string]template{}
	for name, text := range r.Headers {
		if !isToken(name) {
			problems.add(field+".headers", "must have names of header fields; it has %q", name)
		}
		s.headers[name] = compileTemplate(text, fmt.Sprintf("%s.headers.%s", field, name), replyVariables, problems)
	}
}

// Handshake answers the first of the scheme's handshakes whose conditions hold.
func (d *declared) Handshake(r Request, _ []string) (Answer, bool) {
	for i := range d.shakes {
		if d.shakes[i].matches(&r) {
			return d.shakes[i].answer(&r), true
		}
	}
	return Answer{}, false
}

func (s *shake) matches(r *Request) bool {
	if !slices.Contains(s.method, r.Method) {
		return false
	}
	for i := range s.when {
		value := s.when[i].from.value(r)
		if value == "" || s.when[i].want != "" && s.when[i].want != value {
			return false
		}
	}
	return true
}

func (s *shake) answer(r *Request) Answer {
	a := Answer{Status: s.status, ContentType: s.kind, Header: map[string]string{"X-Content-Type-Options": "nosniff"}}
	for name, text := range s.headers {
		a.Header[name] = text.fill(r, false)
	}
	if len(s.body) > 0 {
		a.Body = []byte(s.body.fill(r, s.kind == jsonBody))
	}
	if a.ContentType == plainText {
		a.ContentType = "text/plain; charset=utf-8"
	}
	return a
}

// queryOf reads the query of a request; what cannot be read is left out.
func queryOf(r Request) url.Values {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil
	}
	return u.Query()
}
