// Package yamlfile reads a YAML file so that every problem in it is reported with
// its line. Compatibility is not promised.
//
// It is pure: it gets the text and the file's name. routes reads the routes file
// with it, and the app its hooks file. What a value may be is theirs to say.
package yamlfile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Problem is one error in a file.
type Problem struct {
	File   string
	Line   int
	Reason string
}

func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Reason) }

// Problems is every error in a file, sorted by line.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// File is a YAML file that is being read.
type File struct {
	name     string
	text     []byte
	tree     *ast.File
	problems Problems
}

// Parse returns the file with that text, or Problems when it is not YAML. The name
// is for problems only.
func Parse(name string, text []byte) (*File, error) {
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, Problems{syntaxProblem(name, err)}
	}
	return &File{name: name, text: text, tree: tree}, nil
}

// Documents returns how many YAML documents the file has.
func (f *File) Documents() int { return len(f.tree.Docs) }

// Decode stores the content in what to points to. The error is Problems.
func (f *File) Decode(to any, options ...yaml.DecodeOption) error {
	if err := yaml.UnmarshalWithOptions(f.text, to, options...); err != nil {
		return Problems{syntaxProblem(f.name, err)}
	}
	return nil
}

// Report adds a problem of the value at that place: the names of members and the
// numbers of items on the way to it.
func (f *File) Report(reason string, at ...string) {
	f.problems = append(f.problems, Problem{f.name, lineOf(f.tree, at), reason})
}

// Count returns how many problems were reported.
func (f *File) Count() int { return len(f.problems) }

// Err returns what was reported, as Problems, or nil.
func (f *File) Err() error {
	if len(f.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(f.problems, func(a, b Problem) int { return a.Line - b.Line })
	return slices.Compact(f.problems)
}

// syntaxProblem returns the line and the reason from the YAML parser's error.
func syntaxProblem(file string, err error) Problem {
	p := Problem{File: file, Line: 1, Reason: err.Error()}
	first, _, _ := strings.Cut(yaml.FormatError(err, false, false), "\n")
	var column int
	if n, _ := fmt.Sscanf(first, "[%d:%d]", &p.Line, &column); n == 2 {
		_, p.Reason, _ = strings.Cut(first, "] ")
	}
	return p
}

// lineOf returns the line of a value, or of its nearest parent when it is missing.
func lineOf(tree *ast.File, at []string) int {
	if len(tree.Docs) == 0 || tree.Docs[0].Body == nil {
		return 1
	}
	node := tree.Docs[0].Body
	line := first(node).GetToken().Position.Line
	for _, step := range at {
		next, start := child(node, step)
		if next == nil {
			break
		}
		node, line = next, start.GetToken().Position.Line
	}
	return line
}

// child returns a member of a mapping or sequence, and the node that has the line
// on which it starts.
func child(node ast.Node, step string) (value, start ast.Node) {
	switch n := node.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			if v.Key.GetToken().Value == step {
				return v.Value, v.Key
			}
		}
	case *ast.MappingValueNode:
		if n.Key.GetToken().Value == step {
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
