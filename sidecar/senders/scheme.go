package senders

import (
	"fmt"
	"strings"
)

// Scheme declares how one sender signs, names and numbers its webhooks, so that
// a sender needs no code. schemes.yaml holds those of the built-in senders; the
// section "senders" of a routes file has the same form. [Scheme.Compile] checks
// it. The fields are what docs/senders.md calls them.
type Scheme struct {
	Page   string `yaml:"page,omitempty"   json:"page,omitempty"`   // the vendor's page that it was written from
	Secret string `yaml:"secret,omitempty" json:"secret,omitempty"` // the variable with its secrets: Traits.SecretVar

	Signature Sources    `yaml:"signature"            json:"signature"`            // one that matches is enough
	Encoding  string     `yaml:"encoding,omitempty"   json:"encoding,omitempty"`   // hex (default), base64, base64url
	MAC       string     `yaml:"mac,omitempty"        json:"mac,omitempty"`        // hmac-sha256 (default), hmac-sha1, hmac-sha512, sha256 (no key), equal (a token)
	Key       string     `yaml:"key,omitempty"        json:"key,omitempty"`        // what the secret holds: raw (default), hex, base64
	KeyPrefix string     `yaml:"key_prefix,omitempty" json:"key_prefix,omitempty"` // cut off the secret before it is decoded
	Base      string     `yaml:"base,omitempty"       json:"base,omitempty"`       // what is signed, a template: {body} (default), {timestamp}, {id}, {method}, {url}, {secret}, {header:NAME}, {json:PATH}
	URL       string     `yaml:"url,omitempty"        json:"url,omitempty"`        // as registered with the sender, in place of the request's
	Timestamp *Timestamp `yaml:"timestamp,omitempty"  json:"timestamp,omitempty"`
	Partial   bool       `yaml:"partial,omitempty"    json:"partial,omitempty"` // the signature does not cover the body: demanded where Base lacks {body}

	ID    Sources `yaml:"id,omitempty"    json:"id,omitempty"`    // of the delivery: the first that is there
	Event Sources `yaml:"event,omitempty" json:"event,omitempty"` // the event's name: the first that is there
	Lane  Texts   `yaml:"lane,omitempty"  json:"lane,omitempty"`  // Traits.Lane

	Handshake []Handshake `yaml:"handshake,omitempty" json:"handshake,omitempty"`

	Status  int      `yaml:"status,omitempty"  json:"status,omitempty"`  // acknowledges a held webhook: 200, 202 (default) or 204
	Body    string   `yaml:"body,omitempty"    json:"body,omitempty"`    // of that acknowledgement, for a sender that wants one of its own
	Budget  string   `yaml:"budget,omitempty"  json:"budget,omitempty"`  // how long the app may take: 8s (default)
	Retries bool     `yaml:"retries,omitempty" json:"retries,omitempty"` // Traits.RetriesItself
	Final   []string `yaml:"final,omitempty"   json:"final,omitempty"`   // Traits.Final
	Refuse  int      `yaml:"refuse,omitempty"  json:"refuse,omitempty"`  // Traits.Refuse; 503 by default where 401 is final

	Marks       []string `yaml:"marks,omitempty"        json:"marks,omitempty"`        // Traits.Marks
	SharedMarks bool     `yaml:"shared_marks,omitempty" json:"shared_marks,omitempty"` // Traits.SharedMarks
}

// Source says where in a request a value is. In YAML the text of From alone is
// one as well.
type Source struct {
	From   string `yaml:"from"             json:"from"`             // header:NAME, query:NAME, form:NAME or json:PATH; a * at a header's end stands for 1 to 8
	Split  string `yaml:"split,omitempty"  json:"split,omitempty"`  // the value is a list with this between its pieces
	Prefix string `yaml:"prefix,omitempty" json:"prefix,omitempty"` // pieces without it are dropped; it is cut off the others
	One    string `yaml:"one,omitempty"    json:"one,omitempty"`    // JSON path of a list that must have one item, else there is no value
}

// Sources are tried in order. In YAML one source need not be in a list.
type Sources []Source

// Texts are a list. In YAML one text need not be in a list.
type Texts []string

// Timestamp is the signed time, and how far from the time of receipt it may be.
type Timestamp struct {
	From      string `yaml:"from"                json:"from"` // as in Source
	Split     string `yaml:"split,omitempty"     json:"split,omitempty"`
	Prefix    string `yaml:"prefix,omitempty"    json:"prefix,omitempty"`
	Unit      string `yaml:"unit,omitempty"      json:"unit,omitempty"`      // s (default), ms, rfc3339
	Tolerance string `yaml:"tolerance,omitempty" json:"tolerance,omitempty"` // either way: 5m (default), none
}

// Handshake is a request by which the sender checks the endpoint, and its answer.
type Handshake struct {
	When   When  `yaml:"when"             json:"when"`
	Signed bool  `yaml:"signed,omitempty" json:"signed,omitempty"` // signed like a webhook and sent by POST; else it is sent by GET, HEAD or OPTIONS
	Reply  Reply `yaml:"reply,omitempty"  json:"reply,omitzero"`
}

// When holds if all of its conditions do. NAME alone asks for a value that is
// there, NAME=VALUE for that value.
type When struct {
	Method string `yaml:"method,omitempty" json:"method,omitempty"`
	Header string `yaml:"header,omitempty" json:"header,omitempty"`
	Query  string `yaml:"query,omitempty"  json:"query,omitempty"`
	JSON   string `yaml:"json,omitempty"   json:"json,omitempty"`
}

// Reply answers a handshake. Headers and Body are templates of {query:NAME},
// {header:NAME} and {json:PATH}; what goes into a JSON body is escaped.
type Reply struct {
	Status  int               `yaml:"status,omitempty"  json:"status,omitempty"` // 200 by default
	Type    string            `yaml:"type,omitempty"    json:"type,omitempty"`   // text/plain (default) or application/json
	Headers map[string]string `yaml:"headers,omitempty" json:"headers,omitempty"`
	Body    string            `yaml:"body,omitempty"    json:"body,omitempty"`
}

// UnmarshalYAML reads a list, or one source without a list.
func (s *Sources) UnmarshalYAML(unmarshal func(any) error) error {
	var shape any
	if err := unmarshal(&shape); err != nil {
		return err
	}
	if _, ok := shape.([]any); ok {
		return unmarshal((*[]Source)(s))
	}
	*s = make(Sources, 1)
	return unmarshal(&(*s)[0])
}

// UnmarshalYAML reads a list, or one text without a list.
func (t *Texts) UnmarshalYAML(unmarshal func(any) error) error {
	var shape any
	if err := unmarshal(&shape); err != nil {
		return err
	}
	if _, ok := shape.([]any); ok {
		return unmarshal((*[]string)(t))
	}
	*t = make(Texts, 1)
	return unmarshal(&(*t)[0])
}

// UnmarshalYAML reads the fields, or the text of From alone.
func (s *Source) UnmarshalYAML(unmarshal func(any) error) error {
	var shape any
	if err := unmarshal(&shape); err != nil {
		return err
	}
	if from, ok := shape.(string); ok {
		s.From = from
		return nil
	}
	type plain Source // without this method
	return unmarshal((*plain)(s))
}

// Problem is one fault of a scheme. Field is a path such as "signature[0].from",
// "" for the whole.
type Problem struct{ Field, Reason string }

func (p Problem) Error() string {
	if p.Field == "" {
		return p.Reason
	}
	return p.Field + ": " + p.Reason
}

// Problems are all faults of a scheme, in the order of its fields.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].Error()
	}
	return strings.Join(lines, "\n")
}

func (p *Problems) add(field, format string, args ...any) {
	*p = append(*p, Problem{field, fmt.Sprintf(format, args...)})
}
