package settings

import (
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// durationExample is for error texts; pages say it once for all settings.
const durationExample = " such as 250ms, 5m or 168h"

// kind says in words what the type takes; a text needs Allowed in its
// description.
func kind(t reflect.Type, unit string) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "a duration" + durationExample
	case reflect.TypeFor[bool]():
		return "true or false"
	case reflect.TypeFor[slog.Level]():
		return "debug, info, warn or error"
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		if unit != "" {
			return "a whole number of " + unit
		}
		return "a whole number"
	default:
		return ""
	}
}

// allowed says in words which values the setting takes.
func (s Setting) allowed(t reflect.Type) string {
	words := s.Allowed
	if words == "" {
		words = kind(t, s.Unit)
	}
	if len(s.OneOf) > 0 {
		words = enumerate(s.OneOf)
	}
	switch {
	case s.Min != "" && s.Max != "":
		return fmt.Sprintf("%s between %s and %s", words, s.Min, s.Max)
	case s.Min != "":
		return words + ", at least " + s.Min
	case s.Above != "":
		return words + ", above " + s.Above
	}
	return words
}

// enumerate returns "a, b or c".
func enumerate(list []string) string {
	last := len(list) - 1
	if last == 0 {
		return list[0]
	}
	return strings.Join(list[:last], ", ") + " or " + list[last]
}

// admits reports whether the value, read from that text, is allowed.
func (s Setting) admits(text string, v reflect.Value) bool {
	if len(s.OneOf) > 0 && !slices.Contains(s.OneOf, text) || s.Valid != nil && !s.Valid(text) {
		return false
	}
	if !v.CanInt() {
		return true
	}
	n := v.Int()
	within := func(limit string, ok func(limit int64) bool) bool {
		if limit == "" {
			return true
		}
		l, err := bound(limit, v.Type())
		return err == nil && ok(l)
	}
	return within(s.Min, func(l int64) bool { return n >= l }) &&
		within(s.Max, func(l int64) bool { return n <= l }) &&
		within(s.Above, func(l int64) bool { return n > l })
}

// bound reads a bound as a value of the type.
func bound(text string, t reflect.Type) (int64, error) {
	if t == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(text)
		return int64(d), err
	}
	return strconv.ParseInt(text, 10, 64)
}

// fault says what is wrong with the description of a field of the type.
func (s Setting) fault(t reflect.Type) string {
	for _, limit := range []string{s.Min, s.Max, s.Above} {
		if limit == "" {
			continue
		}
		if _, err := bound(limit, t); err != nil {
			return "has the unreadable bound " + limit
		}
	}
	switch {
	case s.Name == "" || s.Meaning == "":
		return "has no description"
	case s.allowed(t) == "":
		return "has a description that does not say what is allowed"
	}
	return ""
}
