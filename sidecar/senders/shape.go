package senders

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// ReadScheme returns the scheme that a YAML value, read into an any, stands for. Its
// problems are every member that has no meaning or the wrong type; what the fields say
// is checked by [Scheme.Compile].
func ReadScheme(value any) (Scheme, Problems) {
	var problems Problems
	shape(value, reflect.TypeFor[Scheme](), "", &problems)
	if len(problems) > 0 {
		return Scheme{}, problems
	}
	var s Scheme
	text, err := yaml.Marshal(value)
	if err == nil {
		err = yaml.UnmarshalWithOptions(text, &s, yaml.Strict())
	}
	if err != nil {
		problems.add("", "can't be read: %v", err)
	}
	return s, problems
}

// shape checks a value against the type that it is to be read into.
func shape(value any, as reflect.Type, field string, problems *Problems) {
	switch {
	case as.Kind() == reflect.Pointer:
		shape(value, as.Elem(), field, problems)
	case as == reflect.TypeFor[Source]() && reflect.TypeOf(value) == reflect.TypeFor[string]():
	case as.Kind() == reflect.Slice:
		list, ok := value.([]any)
		if !ok && (as == reflect.TypeFor[Sources]() || as == reflect.TypeFor[Texts]()) {
			shape(value, as.Elem(), field, problems)
			return
		}
		if !ok {
			problems.add(field, "must be a list")
		}
		for i, item := range list {
			shape(item, as.Elem(), field+"["+strconv.Itoa(i)+"]", problems)
		}
	case as.Kind() == reflect.Map, as.Kind() == reflect.Struct:
		members, ok := value.(map[string]any)
		if !ok {
			problems.add(field, "must be a mapping")
			return
		}
		shapeMembers(members, as, field, problems)
	case as.Kind() == reflect.String:
		if _, ok := value.(string); !ok {
			problems.add(field, "must be a text")
		}
	case as.Kind() == reflect.Bool:
		if _, ok := value.(bool); !ok {
			problems.add(field, "must be true or false")
		}
	default:
		if n, ok := value.(uint64); !ok || n > 999 {
			problems.add(field, "must be a status such as 200")
		}
	}
}

func shapeMembers(members map[string]any, as reflect.Type, field string, problems *Problems) {
	for _, name := range slices.Sorted(maps.Keys(members)) {
		below := strings.TrimPrefix(field+"."+name, ".")
		if as.Kind() == reflect.Map {
			shape(members[name], as.Elem(), below, problems)
			continue
		}
		if member, ok := fieldCalled(as, name); ok {
			shape(members[name], member, below, problems)
		} else {
			problems.add(below, "unknown field")
		}
	}
}

// fieldCalled returns the type of the field with that name in YAML.
func fieldCalled(in reflect.Type, name string) (reflect.Type, bool) {
	for i := range in.NumField() {
		if tag, _, _ := strings.Cut(in.Field(i).Tag.Get("yaml"), ","); tag == name {
			return in.Field(i).Type, true
		}
	}
	return nil, false
}

// Place returns the way to the problem's field in a YAML value: the names of members
// and the numbers of items.
func (p Problem) Place() []string {
	if p.Field == "" {
		return nil
	}
	return strings.Split(strings.NewReplacer("[", ".", "]", "").Replace(p.Field), ".")
}
