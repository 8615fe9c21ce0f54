package hooks

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
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

// schema validates the text against the schema.
func (c *checker) schema(text []byte) error {
	var content any
	if err := yaml.Unmarshal(text, &content); err != nil {
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
func (c *checker) violations(e *jsonschema.ValidationError) {
	at := e.InstanceLocation
	switch k := e.ErrorKind.(type) {
	case *kind.OneOf:
		c.add(place(at)+"needs exactly one of its alternatives", at...)
		return
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			c.add(fmt.Sprintf("%sunknown field %q", place(at), name), append(at[:len(at):len(at)], name)...)
		}
		return
	}
	if len(e.Causes) == 0 {
		c.add(place(at)+e.ErrorKind.LocalizedString(english), at...)
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

// lineOf returns the line of a value, or of its nearest parent when it is missing.
func lineOf(tree *ast.File, at []string) int {
	if len(tree.Docs) == 0 || tree.Docs[0].Body == nil {
		return 1
	}
	node := tree.Docs[0].Body
	line := node.GetToken().Position.Line
	for _, step := range at {
		next, key := child(node, step)
		if next == nil {
			break
		}
		node, line = next, key.GetToken().Position.Line
	}
	return line
}

// child returns a member of a mapping or sequence, and the node that has the line
// on which it starts.
func child(node ast.Node, step string) (value, start ast.Node) {
	switch n := node.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			if v.Key.String() == step {
				return v.Value, v.Key
			}
		}
	case *ast.MappingValueNode:
		if n.Key.String() == step {
			return n.Value, n.Key
		}
	case *ast.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i < len(n.Values) {
			return n.Values[i], first(n.Values[i])
		}
	case *ast.TagNode:
		return child(n.Value, step)
	case *ast.AnchorNode:
		return child(n.Value, step)
	}
	return nil, nil
}

// first returns the node with which a value begins: a mapping's own token is the
// colon of its first line.
func first(node ast.Node) ast.Node {
	if m, ok := node.(*ast.MappingNode); ok && len(m.Values) > 0 {
		return m.Values[0].Key
	}
	return node
}
