package hooks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// Field is a plain value of the payload, named as an environment variable.
type Field struct{ Name, Value string }

// reserved are names that a payload must not set: after the prefix that commands
// see, SLUICE_PAYLOAD_FILE is the file's.
var reserved = map[string]bool{"FILE": true}

// Fields returns the payload's plain values in the order in which the payload has
// them: {"a":{"b":1}} gives A_B=1. So the same payload gives the same fields at each
// attempt. It leaves out lists, values deeper than depth, values longer than size
// bytes, values beyond the first count, a name that an earlier one has already,
// and FILE.
func (e *Event) Fields(depth, count, size int) []Field {
	if _, err := e.Payload(); err != nil {
		return nil
	}
	f := flat{seen: map[string]bool{}, count: count, size: size}
	if e.form != "" {
		f.form(e.form)
		return f.fields
	}
	d := json.NewDecoder(bytes.NewReader(e.text))
	d.UseNumber()
	if t, err := d.Token(); err == nil && t == json.Delim('{') {
		f.object(d, "", depth)
	}
	return f.fields
}

type flat struct {
	fields      []Field
	seen        map[string]bool
	count, size int
}

func (f *flat) add(name string, value any) {
	text := fmt.Sprint(value)
	if len(f.fields) >= f.count || len(text) > f.size || strings.Contains(text, "\x00") || reserved[name] || f.seen[name] {
		return
	}
	f.seen[name] = true
	f.fields = append(f.fields, Field{name, text})
}

// object reads the members of an object whose brace has been read. The text was
// parsed before, so there are no errors.
func (f *flat) object(d *json.Decoder, prefix string, depth int) {
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return
		}
		name, _ := key.(string)
		name = prefix + variable(name)
		value, err := d.Token()
		if err != nil {
			return
		}
		switch v := value.(type) {
		case json.Delim:
			if v == '{' && depth > 1 {
				f.object(d, name+"_", depth-1)
			} else {
				skip(d)
			}
		case nil:
		default:
			f.add(name, numbers(v))
		}
	}
	_, _ = d.Token() // the closing brace
}

// skip reads to the end of the list or object that has just begun.
func skip(d *json.Decoder) {
	for open := 1; open > 0; {
		t, err := d.Token()
		if err != nil {
			return
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			open++
		case json.Delim('}'), json.Delim(']'):
			open--
		}
	}
}

func (f *flat) form(text string) {
	for pair := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, errName := url.QueryUnescape(name)
		value, errValue := url.QueryUnescape(value)
		if errName == nil && errValue == nil && name != "" {
			f.add(variable(name), value)
		}
	}
}

// variable turns a field's name into one for an environment variable.
func variable(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name)
}
