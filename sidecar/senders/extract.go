package senders

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// extractor is a compiled Source.
type extractor struct {
	kind          string // header, query, form or json
	name          string // a header's as net/http spells it, or each Get would allocate
	split, prefix string
	one           string
}

const (
	fromHeader = "header"
	fromQuery  = "query"
	fromForm   = "form"
	fromJSON   = "json"
)

// numbered is how many headers a * stands for.
const numbered = 8

// compileSource returns more than one extractor for a header with a *.
func compileSource(s Source, field string, problems *Problems) []extractor {
	kind, name, _ := strings.Cut(s.From, ":")
	name = strings.TrimSpace(name)
	x := extractor{kind: kind, name: name, split: s.Split, prefix: s.Prefix, one: s.One}
	switch {
	case !slices.Contains([]string{fromHeader, fromQuery, fromForm, fromJSON}, kind) || name == "":
		problems.add(field+".from", "must be header:NAME, query:NAME, form:NAME or json:PATH; it is %q", s.From)
		return nil
	case kind == fromHeader && !isToken(strings.TrimSuffix(name, "*")):
		problems.add(field+".from", "must name a header field; it is %q", name)
		return nil
	case kind == fromHeader && strings.HasSuffix(name, "*"):
		list := make([]extractor, numbered)
		for i := range list {
			list[i] = x
			list[i].name = canonical(strings.TrimSuffix(name, "*") + string(rune('1'+i)))
		}
		return list
	case kind == fromHeader:
		x.name = canonical(name)
	}
	return []extractor{x}
}

func compileSources(list Sources, field string, problems *Problems) []extractor {
	var all []extractor
	for i, s := range list {
		all = append(all, compileSource(s, fmt.Sprintf("%s[%d]", field, i), problems)...)
	}
	return all
}

// isToken reports whether s can be a header field's name: a token of RFC 9110.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
	})
}

// canonical spells a header field's name as net/http does.
func canonical(name string) string {
	b := []byte(name)
	upper := true
	for i, c := range b {
		switch {
		case upper && 'a' <= c && c <= 'z':
			b[i] = c - 'a' + 'A'
		case !upper && 'A' <= c && c <= 'Z':
			b[i] = c - 'A' + 'a'
		}
		upper = c == '-'
	}
	return string(b)
}

// raw returns the whole value, before it is split and its prefix is cut.
func (x *extractor) raw(r *Request) string {
	if x.one != "" && gjson.GetBytes(r.Body, x.one+".#").Int() != 1 {
		return ""
	}
	switch x.kind {
	case fromHeader:
		return r.Header.Get(x.name)
	case fromQuery:
		return queryOf(*r).Get(x.name)
	case fromForm:
		value, _ := formValue(r.Body, x.name)
		return value
	default:
		return jsonText(r.Body, x.name)
	}
}

// jsonText returns a string or a number of a JSON body, else "".
func jsonText(body []byte, path string) string {
	switch v := gjson.GetBytes(body, path); v.Type {
	case gjson.String, gjson.Number:
		return v.String()
	default:
		return ""
	}
}

// pieces returns the pieces of a value that have the prefix, without it.
func (x *extractor) pieces(value string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for rest, more := value, true; more; {
			piece := rest
			if more = x.split != ""; more {
				piece, rest, more = strings.Cut(rest, x.split)
				piece = strings.Trim(piece, " ")
			}
			if piece, ok := strings.CutPrefix(piece, x.prefix); ok && piece != "" && !yield(piece) {
				return
			}
		}
	}
}

// value returns the last piece, "" when there is none: where a list names a value
// twice, vendors' libraries read the last.
func (x *extractor) value(r *Request) (last string) {
	for piece := range x.pieces(x.raw(r)) {
		last = piece
	}
	return last
}

// firstOf returns the first value there is that can be stored.
func firstOf(list []extractor, r *Request) string {
	for i := range list {
		if value := name(list[i].value(r)); value != "" {
			return value
		}
	}
	return ""
}

// label names the source in a verdict.
func (x *extractor) label() string { return x.name }
