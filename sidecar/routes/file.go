package routes

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"sluice/sidecar/senders"
	"sluice/sidecar/yamlfile"
)

// file reads a routes file.
type file struct {
	set
	*yamlfile.File
	seen map[string]bool           // names and paths
	own  map[string]senders.Sender // of the section senders
}

// ParseFile reads a routes file; name is its name in problems. The error is
// yamlfile.Problems, with every problem of the file.
func ParseFile(name string, text []byte, o Options) ([]Route, error) {
	y, err := yamlfile.Parse(name, text)
	if err != nil {
		return nil, err
	}
	f := &file{set: set{Options: o}, File: y, seen: map[string]bool{}, own: map[string]senders.Sender{}}
	var content any
	if err := f.Decode(&content); err != nil {
		return nil, err
	}
	if f.Documents() > 1 {
		f.Report("must be one YAML document")
	}
	f.read(content)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return f.routes, nil
}

const routeList = "routes"

func (f *file) read(content any) {
	top, ok := content.(map[string]any)
	if !ok {
		f.Report("must be a mapping with the member routes")
		return
	}
	for _, name := range sortedKeys(top) {
		if name != routeList && name != senderMap {
			f.Report(fmt.Sprintf("unknown member %q", name), name)
		}
	}
	if section, given := top[senderMap]; given {
		f.declare(section)
	}
	list, ok := top[routeList].([]any)
	if !ok || len(list) == 0 {
		f.Report("routes must be a list with a route, else no webhook would be held", routeList)
		return
	}
	for i, item := range list {
		at := []string{routeList, strconv.Itoa(i)}
		members, ok := item.(map[string]any)
		if !ok {
			f.Report("a route must be a mapping", at...)
			continue
		}
		f.route(members, at)
	}
}

// route reads one route and adds it.
func (f *file) route(members map[string]any, at []string) {
	e := &entry{file: f, members: members, at: at}
	before := f.Count()
	for _, name := range sortedKeys(members) {
		if _, known := readers[name]; !known {
			e.problem(name, "is no member of a route")
		}
	}
	for _, name := range required {
		if members[name] == nil {
			f.Report(fmt.Sprintf("%s is missing", name), at...)
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
		f.Report(err.Error(), at...)
	}
	f.once(e, "name", e.Name)
	f.once(e, "path", e.Pattern())
	if f.Count() == before {
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
