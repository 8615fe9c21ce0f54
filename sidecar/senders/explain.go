package senders

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Explanation is what Verify looked at in one request. It holds no secret: of a
// signature it has the beginning, of a token its length.
type Explanation struct {
	Sender   string   `json:"sender"`
	Verdict  string   `json:"verdict"` // "verified", or the reason of the refusal
	Verified bool     `json:"verified"`
	Checks   []Check  `json:"checks"`
	Hints    []string `json:"hints,omitempty"` // what would have made it verify
	ID       string   `json:"delivery_id"`
	Event    string   `json:"event"`
}

// Check is one thing that Verify asks for.
type Check struct {
	What string `json:"what"`
	Want string `json:"want"`
	Got  string `json:"got"`
	OK   bool   `json:"ok"`
}

// Explain verifies r and says step by step what is expected, what is there and
// where the two part. It is for a person at a terminal: it tries what people get
// wrong, and takes its time.
func Explain(s Sender, r Request, secrets []string, now time.Time) Explanation {
	id := s.Identify(r)
	e := Explanation{Sender: s.Traits().Name, ID: id.DeliveryID, Event: id.Event, Verdict: "verified"}
	err := s.Verify(r, secrets, now)
	if e.Verified = err == nil; err != nil {
		e.Verdict = err.Error()
	}
	d := schemeOf(s)
	if d == nil {
		e.Checks = []Check{{What: "signature", Want: "as " + e.Sender + " signs", Got: e.Verdict, OK: e.Verified}}
	} else {
		e.Checks = d.explain(&r, secrets, now)
	}
	if errors.Is(err, ErrSignature) {
		e.Hints = hints(s, r, secrets, now)
	}
	return e
}

// schemeOf returns the scheme behind a sender, nil for one that is code alone.
func schemeOf(s Sender) *declared {
	switch s := s.(type) {
	case *declared:
		return s
	case *resigning:
		return s.declared
	case slack:
		return s.declared
	case zoom:
		return s.declared
	case meta:
		return s.declared
	}
	return nil
}

func (d *declared) explain(r *Request, secrets []string, now time.Time) []Check {
	var checks []Check
	for _, field := range d.fields {
		n := len(r.Header.Values(field))
		c := Check{What: "header " + field, Want: "once", Got: fmt.Sprintf("%d times", n), OK: n == 1}
		switch {
		case n == 1:
			c.Got = "once"
		case n == 0 && len(d.signature) > 1:
			c.Want, c.Got, c.OK = "at most once, and one of them", "not there", true
		case n == 0:
			c.Got = "not there"
		}
		checks = append(checks, c)
	}
	checks = append(checks, d.explainForm(r)...)
	at := ""
	if d.time != nil {
		c := d.time.explain(r, now)
		checks, at = append(checks, c), d.time.from.value(r)
	}
	if d.token {
		return append(checks, d.explainToken(r, secrets)...)
	}
	checks = append(checks, Check{What: "signed text", Want: d.baseText(), Got: d.shown(r, at), OK: d.complete(r) == nil})
	for i, secret := range secrets {
		checks = append(checks, d.explainSecret(r, at, secret, i+1))
	}
	return checks
}

// explainForm says whether the signature can be read.
func (d *declared) explainForm(r *Request) []Check {
	var checks []Check
	for i := range d.signature {
		x := &d.signature[i]
		value := x.raw(r)
		if value == "" || d.token {
			continue
		}
		c := Check{What: "signature in " + x.name, Want: d.form(x), Got: shorten(value)}
		got := make([]byte, d.size)
		for piece := range x.pieces(value) {
			c.OK = c.OK || d.decode(got, piece)
		}
		checks = append(checks, c)
	}
	return checks
}

func (d *declared) form(x *extractor) string {
	text := fmt.Sprintf("%d bytes in %s", d.size, d.encoding)
	if x.prefix != "" {
		text += fmt.Sprintf(" after %q", x.prefix)
	}
	if x.split != "" {
		text += fmt.Sprintf(", of several with %q between", x.split)
	}
	return text
}

func (t *signedTime) explain(r *Request, now time.Time) Check {
	text := t.from.value(r)
	c := Check{What: "time in " + t.from.name, Want: t.unit, Got: text}
	at, ok := parseTime(text, t.unit)
	switch {
	case text == "":
		c.Got = "not there"
	case t.tolerance == 0:
		c.Want, c.OK = "any time", true
	case !ok:
		c.Got += ", unreadable"
	default:
		c.Want = fmt.Sprintf("%s, within %v of %s", t.unit, t.tolerance, now.UTC().Format(time.RFC3339))
		age := now.Sub(at)
		c.OK = age <= t.tolerance && age >= -t.tolerance
		c.Got = fmt.Sprintf("%s, %v before", text, age.Round(time.Second))
	}
	return c
}

func (d *declared) explainToken(r *Request, secrets []string) []Check {
	var checks []Check
	for i := range d.signature {
		value := d.signature[i].raw(r)
		c := Check{What: "token in " + d.signature[i].name, Want: "one of the secrets", Got: "not there"}
		if value != "" {
			c.Got = fmt.Sprintf("*** of %d characters", len(value))
			c.OK = d.verifyToken(r, secrets) == nil
		}
		checks = append(checks, c)
	}
	return checks
}

// explainSecret compares the beginning of the right signature with that of r.
func (d *declared) explainSecret(r *Request, at, secret string, n int) Check {
	c := Check{What: fmt.Sprintf("secret %d", n), Want: "a signature in the request", Got: "no key in the form " + d.keyForm()}
	k := d.keys.Get().(*keyed)
	defer d.keys.Put(k)
	sum := d.sum(k, r, at, secret)
	if sum == nil {
		return c
	}
	right := encodings[d.encoding].encode(sum)
	c.Want = shorten(right)
	c.Got = "no signature"
	for i := range d.signature {
		for piece := range d.signature[i].pieces(d.signature[i].raw(r)) {
			if c.OK {
				break
			}
			c.Got = shorten(piece)
			c.OK = strings.EqualFold(piece, right) && d.encoding == "hex" || piece == right
			if !c.OK {
				c.Got += fmt.Sprintf(", differs from character %d", firstDifference(piece, right))
			}
		}
	}
	return c
}

func (d *declared) keyForm() string {
	if d.scheme.Key == "" {
		return "raw"
	}
	return d.scheme.Key
}

func (d *declared) baseText() string {
	if d.scheme.Base == "" {
		return "{body}"
	}
	return d.scheme.Base
}

// shown is the signed text with the body's size in its place and no secret.
func (d *declared) shown(r *Request, at string) string {
	var b strings.Builder
	for _, p := range d.base {
		switch p.kind {
		case "":
			b.WriteString(p.text)
		case varBody:
			fmt.Fprintf(&b, "{body of %d bytes}", len(r.Body))
		case varSecret:
			b.WriteString("***")
		case varTimestamp:
			b.WriteString(at)
		case varID:
			b.WriteString(d.id[0].value(r))
		case varMethod:
			b.WriteString(r.Method)
		case varURL:
			b.WriteString(d.address(r))
		case fromHeader:
			b.WriteString(r.Header.Get(p.text))
		case fromJSON:
			b.WriteString(jsonText(r.Body, p.text))
		}
	}
	return b.String()
}

// shorten keeps enough of a signature to compare it by eye, and too little to use.
func shorten(signature string) string {
	const shown = 16
	if len(signature) <= shown {
		return signature
	}
	return fmt.Sprintf("%s… (%d characters)", signature[:shown], len(signature))
}

func firstDifference(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n + 1
}
