// Package request is the head of a received HTTP request, in a form that can be
// stored, compared and sent on byte for byte.
//
// It owns the rules for which fields go to the app and which end at this hop. It is
// pure: it imports no listener, no database driver and no clock. It must never
// decide what happens to a request. wire captures a head as it reads it, webhook
// has it as a field, upstream sends it to the app.
package request

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Head is a request's first lines as they are sent to the app and stored in the
// table's column headers: the request line and one line per field, each ended by
// CRLF. It has no empty line at its end, no Content-Length (the body's length
// gives it), and no fields that belong to one connection or to Sluice. Names keep
// their case and order; values keep every byte.
type Head []byte

// ErrHead means that a stored head can't be read.
var ErrHead = errors.New("unreadable request head")

// NewHead returns a head with a request line and a Host field. The uri is the
// request target exactly as received.
func NewHead[T string | []byte](method string, uri, host T) Head {
	h := make(Head, 0, 1024)
	h = append(h, method...)
	h = append(h, ' ')
	h = append(h, uri...)
	h = append(h, " HTTP/1.1\r\nHost: "...)
	h = append(h, host...)
	return append(h, '\r', '\n')
}

// Add appends a field.
func (h Head) Add(name, value string) Head {
	h = append(h, name...)
	h = append(h, ':', ' ')
	h = append(h, value...)
	return append(h, '\r', '\n')
}

// Set appends a field after removing all of that name.
func (h Head) Set(name, value string) Head {
	out := make(Head, 0, len(h)+len(name)+len(value)+4)
	line, rest := cutLine(h)
	out = append(append(out, line...), '\r', '\n')
	for len(rest) > 0 {
		line, rest = cutLine(rest)
		if n, _, _ := bytes.Cut(line, colon); !equalFold(n, name) {
			out = append(append(out, line...), '\r', '\n')
		}
	}
	return out.Add(name, value)
}

// Get returns the first value of the named field, "" when there is none.
func (h Head) Get(name string) string {
	v, _ := h.first(name)
	return string(v)
}

func (h Head) first(name string) ([]byte, bool) {
	_, rest := cutLine(h)
	for len(rest) > 0 {
		var line []byte
		line, rest = cutLine(rest)
		if n := len(name); len(line) > n && line[n] == ':' && equalFold(line[:n], name) {
			return bytes.TrimSpace(line[n+1:]), true
		}
	}
	return nil, false
}

// Values returns every value of the named field in the order received.
func (h Head) Values(name string) []string {
	var vs []string
	for n, v := range h.Fields() {
		if strings.EqualFold(n, name) {
			vs = append(vs, v)
		}
	}
	return vs
}

// Count returns how many fields of that name there are.
func (h Head) Count(name string) (count int) {
	_, rest := cutLine(h)
	for len(rest) > 0 {
		var line []byte
		line, rest = cutLine(rest)
		if n := len(name); len(line) > n && line[n] == ':' && equalFold(line[:n], name) {
			count++
		}
	}
	return count
}

// Fields yields every field in order.
func (h Head) Fields() func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		_, rest := cutLine(h)
		for len(rest) > 0 {
			var line []byte
			line, rest = cutLine(rest)
			name, value, _ := bytes.Cut(line, colon)
			if !yield(string(name), string(bytes.TrimSpace(value))) {
				return
			}
		}
	}
}

// Method returns the request's method, "" when the head is unreadable.
func (h Head) Method() string {
	line, _ := cutLine(h)
	m, _, _ := bytes.Cut(line, space)
	if string(m) == "POST" {
		return "POST" // without an allocation
	}
	return string(m)
}

// URI returns the request target, "" when the head is unreadable.
func (h Head) URI() string { return string(h.uri()) }

func (h Head) uri() []byte {
	line, _ := cutLine(h)
	_, rest, _ := bytes.Cut(line, space)
	uri, _, _ := bytes.Cut(rest, space)
	return uri
}

// Authority returns the Host field in lower case and without a default port, so that
// all forms of the same address are equal (RFC 9110, 4.2.3).
func (h Head) Authority() []byte {
	host, _ := h.first("Host")
	host = bytes.ToLower(host)
	for _, port := range [...]string{":80", ":443"} {
		if trimmed, ok := bytes.CutSuffix(host, []byte(port)); ok {
			return trimmed
		}
	}
	return host
}

// Check returns an error that wraps ErrHead unless the head can be sent as it
// is: a damaged row must never become a malformed or a second request.
func (h Head) Check() error {
	line, rest := cutLine(h)
	parts := bytes.Split(line, space)
	if len(parts) != 3 || !IsToken(parts[0]) || len(parts[1]) == 0 || string(parts[2]) != "HTTP/1.1" {
		return fmt.Errorf("%w: bad request line", ErrHead)
	}
	if !bytes.HasSuffix(h, crlf) || bytes.Count(h, crlf) != bytes.Count(h, crlf[1:]) {
		return fmt.Errorf("%w: cut off", ErrHead)
	}
	for len(rest) > 0 {
		line, rest = cutLine(rest)
		name, value, ok := bytes.Cut(line, colon)
		if !ok || !IsToken(name) {
			return fmt.Errorf("%w: bad field name", ErrHead)
		}
		if bytes.ContainsAny(value, "\r\n\x00") {
			return fmt.Errorf("%w: bad value of %s", ErrHead, name)
		}
		if Stripped(name) {
			return fmt.Errorf("%w: field %s does not belong in a stored head", ErrHead, name)
		}
	}
	return nil
}

// Stripped reports whether a field is never passed to the app as received: it
// belongs to one connection (RFC 9110, 7.6.1), is written again (Content-Length),
// or has a name that only Sluice may use.
func Stripped[T string | []byte](name T) bool {
	if Reserved(name) {
		return true
	}
	switch len(name) {
	case 2:
		return equalFold(name, "te")
	case 6:
		return equalFold(name, "expect")
	case 7:
		return equalFold(name, "trailer") || equalFold(name, "upgrade")
	case 10:
		return equalFold(name, "connection") || equalFold(name, "keep-alive")
	case 14:
		return equalFold(name, "content-length")
	case 16:
		return equalFold(name, "proxy-connection")
	case 17:
		return equalFold(name, "transfer-encoding")
	}
	return false
}

// Reserved reports whether only Sluice may send the app a field of that name. An
// underscore counts as a hyphen, because CGI, WSGI and Rack treat them alike.
func Reserved[T string | []byte](name T) bool {
	return len(name) > 7 && equalFold(name[:6], "sluice") && (name[6] == '-' || name[6] == '_')
}

// IsToken reports whether b is a field name or a method (RFC 9110, 5.6.2).
func IsToken(b []byte) bool {
	for _, c := range b {
		if !tokenBytes[c] {
			return false
		}
	}
	return len(b) > 0
}

var tokenBytes = func() (in [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		in[c] = true
	}
	return in
}()

var (
	crlf  = []byte("\r\n")
	colon = []byte(":")
	space = []byte(" ")
)

func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return b, nil
	}
	line, rest = b[:i], b[i+1:]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, rest
}

// Named reports whether a field's name is that one, given in lower case.
func Named(name []byte, lower string) bool { return equalFold(name, lower) }

// equalFold compares field names, which are ASCII, without regard to case.
func equalFold[T string | []byte](a T, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range b {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
