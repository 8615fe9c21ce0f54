package hooks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Event is the part of a webhook that rules can use. Its payload is parsed when a
// rule first uses it. Do not copy an Event.
type Event struct {
	ID         string // Sluice-Id
	Source     string // the sender
	Route      string // the route's name
	Method     string
	Path       string // as it was sent, without the query
	Query      string // as it was sent, without the "?"
	Verified   bool   // the sender's signature was verified, here or by the sidecar
	Event      string
	DeliveryID string
	ReceivedAt time.Time
	Header     map[string][]string
	Body       []byte
	// Load, when set, is used instead of Body: it reads the body when a rule first
	// uses it, so that large bodies are not kept in memory without need.
	Load func() ([]byte, error)
	// Secret returns the secret of that name, for templates; nil: there are none.
	Secret func(name string) (string, error)

	parse   sync.Once
	payload any
	text    []byte // of the payload, when it is JSON
	form    string // of the payload, when it is a form
	err     error
}

// errNotJSON has no details: it is logged and must not quote the body.
var errNotJSON = errors.New("payload is not JSON")

// Payload returns the parsed body: JSON, or a form whose field "payload" holds
// JSON (GitHub's other content type), or a form's first values. Whole numbers
// are ints.
func (e *Event) Payload() (any, error) {
	e.parse.Do(func() {
		body := e.Body
		if e.Load != nil {
			if body, e.err = e.Load(); e.err != nil {
				return
			}
		}
		e.payload, e.err = e.parsePayload(body)
	})
	return e.payload, e.err
}

func (e *Event) parsePayload(body []byte) (any, error) {
	e.text = body
	if media, _, _ := mime.ParseMediaType(e.first("Content-Type")); media == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, errors.New("payload is not a form")
		}
		if text := form.Get("payload"); text != "" {
			e.text = []byte(text)
			return parseJSON(e.text)
		}
		e.form = string(body)
		fields := make(map[string]any, len(form))
		for name := range form {
			fields[name] = form.Get(name)
		}
		return fields, nil
	}
	return parseJSON(body)
}

func parseJSON(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, errNotJSON
	}
	return numbers(v), nil
}

// numbers turns whole numbers into ints, so that an id prints as it was sent, and
// other numbers into floats.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return int(i)
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	}
	return v
}

// query returns the first value of each parameter. What cannot be read of the
// query is left out.
func (e *Event) query() map[string]string {
	values, _ := url.ParseQuery(e.Query) //nolint:errcheck // see above
	first := make(map[string]string, len(values))
	for name := range values {
		first[name] = values.Get(name)
	}
	return first
}

func (e *Event) secret(name string) (string, error) {
	if e.Secret == nil {
		return "", fmt.Errorf("secret %s is not there", name)
	}
	return e.Secret(name)
}

// first returns the first value of a header field; the name is case-insensitive.
func (e *Event) first(name string) string {
	for k, values := range e.Header {
		if strings.EqualFold(k, name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

func itoa(i int) string { return strconv.Itoa(i) }
