package hooks

import (
	"fmt"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"
)

// scope has the names that an expression can use.
type scope struct {
	ID         string              `expr:"id"`
	Source     string              `expr:"source"`
	Route      string              `expr:"route"`
	Method     string              `expr:"method"`
	Path       string              `expr:"path"`
	Query      map[string]string   `expr:"query"` // first values
	Verified   bool                `expr:"verified"`
	Event      string              `expr:"event"`
	DeliveryID string              `expr:"delivery_id"`
	ReceivedAt time.Time           `expr:"received_at"`
	Headers    map[string]string   `expr:"headers"` // names in lower case, first values
	Header     func(string) string `expr:"header"`
	Payload    any                 `expr:"payload"`
}

// withSecrets has the names that a template of an action can use. A condition and a
// concurrency key cannot name secrets: what they come to is stored and logged.
type withSecrets struct {
	scope
	Secret func(string) (string, error) `expr:"secret"`
}

// maxNodes limits the size of an expression, far above what a person writes.
const maxNodes = 1000

func (e *Event) scope() (scope, error) {
	s := scope{
		ID: e.ID, Source: e.Source, Event: e.Event, DeliveryID: e.DeliveryID, ReceivedAt: e.ReceivedAt,
		Route: e.Route, Method: e.Method, Path: e.Path, Query: e.query(), Verified: e.Verified,
		Headers: make(map[string]string, len(e.Header)), Header: e.first,
	}
	for name, values := range e.Header {
		if len(values) > 0 {
			s.Headers[strings.ToLower(name)] = values[0]
		}
	}
	var err error
	s.Payload, err = e.Payload()
	return s, err
}

func compile(source string, options ...expr.Option) (*vm.Program, error) {
	options = append([]expr.Option{expr.Env(scope{})}, options...)
	options = append(options, expr.Patch(optional{}), expr.MaxNodes(maxNodes))
	p, err := expr.Compile(source, options...)
	if err != nil {
		return nil, fmt.Errorf("expression: %w", err)
	}
	return p, nil
}

// holds evaluates a condition. A payload that is not JSON is nil in it.
func holds(condition *vm.Program, e *Event) (bool, error) {
	s, _ := e.scope() //nolint:errcheck // see above
	v, err := expr.Run(condition, s)
	if err != nil {
		return false, fmt.Errorf("when: %w", shorten(err))
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("when: must be true or false, is %T", v)
	}
	return b, nil
}

// shorten returns the first line of expr's error; the others show the source.
func shorten(err error) error {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return fmt.Errorf("%s", line)
}

// optional lets member access on nil give nil instead of an error: payloads differ
// from event to event, and payload.a.b is nil when there is no a.
type optional struct{}

func (optional) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.MemberNode:
		n.Optional = true
		ast.Patch(node, &ast.ChainNode{Node: n})
	case *ast.CallNode:
		// A called method cannot be nil.
		if chain, ok := n.Callee.(*ast.ChainNode); ok {
			if member, ok := chain.Node.(*ast.MemberNode); ok {
				member.Optional = false
				n.Callee = member
			}
		}
	}
}

// secretNames collects the names that are given to secret, which must be written
// out: so it is known at the start whether they are there.
type secretNames struct {
	names   []string
	unknown bool
}

func (s *secretNames) Visit(node *ast.Node) {
	call, ok := (*node).(*ast.CallNode)
	if !ok {
		return
	}
	if callee, ok := call.Callee.(*ast.IdentifierNode); !ok || callee.Value != "secret" {
		return
	}
	if len(call.Arguments) == 1 {
		if name, ok := call.Arguments[0].(*ast.StringNode); ok {
			s.names = append(s.names, name.Value)
			return
		}
	}
	s.unknown = true
}
