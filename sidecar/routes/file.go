package routes

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"sluice/sidecar/senders"
)

// file reads the text of a routes file.
type file struct {
	set
	name     string
	tree     *ast.File
	problems Problems
	seen     map[string]bool // names and paths
}

// ParseFile reads a routes file; name is its name in problems. The error is
// Problems, with every problem of the file.
func ParseFile(name string, text []byte, o Options) ([]Route, error) {
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, Problems{syntaxProblem(name, err)}
	}
	f := &file{set: set{Options: o}, name: name, tree: tree, seen: map[string]bool{}}
	var content any
	if err := yaml.Unmarshal(text, &content); err != nil {
		return nil, Problems{syntaxProblem(name, err)}
	}
	if len(tree.Docs) > 1 {
		f.report("must be one YAML document")
	}
	f.read(content)
	if len(f.problems) > 0 {
		return nil, f.problems.sorted()
	}
	return f.routes, nil
}

// report adds a problem of the value at that place.
func (f *file) report(reason string, at ...string) {
	f.problems = append(f.problems, Problem{f.name, lineOf(f.tree, at), reason})
}

const routeList = "routes"

func (f *file) read(content any) {
	top, ok := content.(map[string]any)
	if !ok {
		f.report("must be a mapping with the member routes")
		return
	}
	for _, name := range sortedKeys(top) {
		if name != routeList {
			f.report(fmt.Sprintf("unknown member %q", name), name)
		}
	}
	list, ok := top[routeList].([]any)
	if !ok || len(list) == 0 {
		f.report("routes must be a list with a route, else no webhook would be held", routeList)
		return
	}
	for i, item := range list {
		at := []string{routeList, strconv.Itoa(i)}
		members, ok := item.(map[string]any)
		if !ok {
			f.report("a route must be a mapping", at...)
			continue
		}
		f.route(members, at)
	}
}

// route reads one route and adds it.
func (f *file) route(members map[string]any, at []string) {
	e := &entry{file: f, members: members, at: at}
	before := len(f.problems)
	for _, name := range sortedKeys(members) {
		if _, known := readers[name]; !known {
			e.problem(name, "is no member of a route")
		}
	}
	for _, name := range required {
		if members[name] == nil {
			f.report(fmt.Sprintf("%s is missing", name), at...)
		}
	}
	for _, name := range order {
		if value, given := members[name]; given {
			if err := readers[name](e, value); err != nil {
				e.problem(name, err.Error())
			}
		}
		if name == "sender" && e.Sender == nil { // nothing can be said of the rest
			e.Sender = senders.GenericHMAC("X", "")
		}
	}
	if e.Sync && e.Retry {
		e.problem("errors", "must not be retry on a sync route, which is never held")
	}
	if err := e.settle(); err != nil {
		f.report(err.Error(), at...)
	}
	f.once(e, "name", e.Name)
	f.once(e, "path", e.Pattern())
	if len(f.problems) == before {
		f.routes = append(f.routes, e.Route)
	}
}

// once reports a value that a route above has.
func (f *file) once(e *entry, member, value string) {
	if value == "" {
		return
	}
	if is := member + value; f.seen[is] {
		e.problem(member, fmt.Sprintf("must be unique; a route above has %q", value))
	} else {
		f.seen[is] = true
	}
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
