package hooks

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Schema is the JSON Schema of a hooks file, for editors.
//
//go:embed hooks.schema.json
var Schema []byte

const schemaName = "hooks.schema.json"

var compiled = sync.OnceValues(func() (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schemaName, doc); err != nil {
		return nil, fmt.Errorf("add schema: %w", err)
	}
	return c.Compile(schemaName)
})

// schema validates the content against the schema.
func (c checker) schema() error {
	var content any
	if err := c.Decode(&content); err != nil {
		return err
	}
	asJSON, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("convert to JSON: %w", err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		return fmt.Errorf("convert to JSON: %w", err)
	}
	s, err := compiled()
	if err != nil {
		return err
	}
	var invalid *jsonschema.ValidationError
	if err := s.Validate(doc); errors.As(err, &invalid) {
		c.violations(invalid)
	}
	return nil
}

var english = message.NewPrinter(language.English)

// violations adds the innermost causes as problems, each with its own line.
func (c checker) violations(e *jsonschema.ValidationError) {
	at := e.InstanceLocation
	switch k := e.ErrorKind.(type) {
	case *kind.OneOf:
		c.Report(place(at)+"needs exactly one of its alternatives", at...)
		return
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			c.Report(fmt.Sprintf("%sunknown field %q", place(at), name), append(at[:len(at):len(at)], name)...)
		}
		return
	}
	if len(e.Causes) == 0 {
		c.Report(place(at)+e.ErrorKind.LocalizedString(english), at...)
		return
	}
	for _, cause := range e.Causes {
		c.violations(cause)
	}
}

// place names the field that a problem is about: "action.exec.argv: ".
func place(at []string) string {
	if len(at) >= 2 {
		at = at[2:] // without "hooks" and the hook's index: the line shows it
	}
	if len(at) == 0 {
		return ""
	}
	return strings.Join(at, ".") + ": "
}
