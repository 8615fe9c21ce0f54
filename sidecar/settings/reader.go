package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/kelseyhightower/envconfig"
)

// Problems are all the reasons why the settings are refused.
type Problems []string

func (p Problems) Error() string { return strings.Join(p, "\n") }

// Reader reads the settings of one struct and collects what is wrong with them.
type Reader struct {
	fields   []*field
	asked    []Value // secrets that are no field of the struct
	rejected map[string]bool
	problems Problems
}

// field is a field of the struct with its description and its value.
type field struct {
	Setting
	definition reflect.StructField
	target     reflect.Value
	given
}

func (f *field) secret() bool { return f.target.Type() == reflect.TypeFor[Secret]() }

// NewReader prepares to read into a struct, given by its pointer. Its fields
// with a tag `envconfig:"NAME"` are settings, described in the table; so are those
// of structs that it embeds.
func NewReader(into any, table Table) *Reader {
	r := &Reader{rejected: map[string]bool{}}
	r.addFields(reflect.ValueOf(into).Elem(), table)
	return r
}

func (r *Reader) addFields(v reflect.Value, table Table) {
	for i := range v.NumField() {
		definition := v.Type().Field(i)
		if definition.Anonymous {
			r.addFields(v.Field(i), table)
			continue
		}
		name := definition.Tag.Get("envconfig")
		if name == "" {
			continue
		}
		described, _ := table.find(name)
		if fault := described.fault(definition.Type); fault != "" {
			described.Name = name
			r.reject(name, name+" "+fault+"; this is a fault of the program")
		}
		r.fields = append(r.fields, &field{Setting: described, definition: definition, target: v.Field(i)})
	}
}

// Read fills the struct.
func (r *Reader) Read() {
	for _, f := range r.fields {
		if problem := f.read(); problem != "" {
			r.reject(f.Name, problem)
		}
	}
}

// read returns what is wrong with the setting.
func (f *field) read() string {
	f.given = lookup(f.Name)
	if f.secret() {
		var err error
		if f.given, err = lookupSecret(f.Name); err != nil {
			return err.Error()
		}
	}
	if f.from == Default {
		f.text = f.Default
	}
	switch {
	case f.text == "" && f.Required:
		problem := f.Name + " is required"
		if words := f.allowed(f.target.Type()); words != "" {
			problem += "; set it to " + words
		}
		return problem
	case f.text == "":
		return ""
	}
	if err := f.convert(); err != nil || !f.admits(f.text, f.target) {
		return f.wrong("must be " + f.allowed(f.target.Type()))
	}
	return ""
}

// convert has envconfig turn the text into the field's type. It is given a
// struct of this field alone, because it stops at the first problem of a struct
// and an operator wants to see all of them.
func (f *field) convert() error {
	if f.from == File {
		f.target.Set(reflect.ValueOf(NewSecret(f.text)))
		return nil
	}
	tag := fmt.Sprintf("envconfig:%q", f.Name)
	if f.from == Default || f.derived {
		// No variable has this name, so envconfig takes the default also where
		// the variable is set to nothing, as compose files do.
		tag = fmt.Sprintf("envconfig:%q default:%q", f.Name+"=", f.text)
	}
	definition := f.definition
	definition.Tag = reflect.StructTag(tag)
	one := reflect.New(reflect.StructOf([]reflect.StructField{definition}))
	if err := envconfig.Process("", one.Interface()); err != nil {
		return err
	}
	f.target.Set(one.Elem().Field(0))
	return nil
}

// wrong says what is wrong, what the value is and what to do.
func (f *field) wrong(rule string) string {
	name, value := f.Name, fmt.Sprintf("it is %q", f.text)
	if f.secret() {
		value = "its value is not shown"
	}
	if f.from == File {
		name = fmt.Sprintf("%s (from the file %s)", f.Name, f.file)
	}
	switch {
	case f.from == Default:
		return fmt.Sprintf("%s %s; %s by default, so set it", name, rule, value)
	case f.Required, f.secret():
		return fmt.Sprintf("%s %s; %s", name, rule, value)
	case f.Default != "":
		return fmt.Sprintf("%s %s; %s (leave it unset for %s)", name, rule, value, f.Default)
	}
	return fmt.Sprintf("%s %s; %s (or leave it unset)", name, rule, value)
}

// further matches NAME_2, NAME_3 and so on, which are shown only where they are set.
var further = regexp.MustCompile(`_[2-9]$`)

// Given reports whether the variable is set, rather than left to its default.
func (r *Reader) Given(name string) bool { return lookup(name).from != Default }

// Secret returns a secret that is no field of the struct, such as a sender's.
func (r *Reader) Secret(name string) string {
	g, err := lookupSecret(name)
	if slices.ContainsFunc(r.asked, func(v Value) bool { return v.Name == name }) {
		return g.text
	}
	if err != nil {
		r.reject(name, err.Error())
	}
	if g.from != Default || !further.MatchString(name) {
		r.asked = append(r.asked, Value{Name: name, Value: NewSecret(g.text).String(), From: g.from, File: g.file, Secret: true})
	}
	return g.text
}

// Derive gives a setting that is left to its default a value made of another
// variable, whose text it then counts as.
func (r *Reader) Derive(name, text string) {
	for _, f := range r.fields {
		if f.Name != name || f.from != Default {
			continue
		}
		f.given = given{text: text, from: Environment, derived: true}
		if err := f.convert(); err != nil || !f.admits(f.text, f.target) {
			r.reject(name, f.wrong("must be "+f.allowed(f.target.Type())))
		}
	}
}

// Reject adds a problem that the config package has found: a rule that takes
// two settings, say, worded to follow the name. It says nothing about a setting
// that was refused before.
func (r *Reader) Reject(name, rule string, args ...any) {
	rule = fmt.Sprintf(rule, args...)
	for _, f := range r.fields {
		if f.Name == name {
			rule = f.wrong(rule)
		}
	}
	r.reject(name, rule)
}

// RejectAll adds problems that name their setting themselves, one a line.
func (r *Reader) RejectAll(err error) {
	if err != nil {
		r.problems = append(r.problems, strings.Split(err.Error(), "\n")...)
	}
}

func (r *Reader) reject(name, problem string) {
	if !r.rejected[name] {
		r.rejected[name] = true
		r.problems = append(r.problems, problem)
	}
}

// Err returns every problem, as Problems, or nil.
func (r *Reader) Err() error {
	if len(r.problems) == 0 {
		return nil
	}
	return r.problems
}

// Values returns the settings in effect, in the struct's order.
func (r *Reader) Values() []Value {
	var values []Value
	for _, f := range r.fields {
		v := Value{Name: f.Name, Value: f.text, From: f.from, File: f.file, Secret: f.secret(), unset: f.Unset}
		if f.Required {
			v.unset = "required"
		}
		if v.Secret {
			v.Value = NewSecret(f.text).String()
		}
		values = append(values, v)
	}
	return append(values, r.asked...)
}

// reason is an error of a file without its path, which the caller names.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
