package senders

import "sync"

// mark is a header field and the sender that is known by it.
type mark struct{ field, sender string }

// marks are those of all senders, marks of their own before shared ones.
var marks = sync.OnceValue(func() []mark {
	var own, shared []mark
	for _, name := range Names() {
		traits := registry()[name].Traits()
		for _, field := range traits.Marks {
			if traits.SharedMarks {
				shared = append(shared, mark{field, name})
			} else {
				own = append(own, mark{field, name})
			}
		}
	}
	return append(own, shared...)
})

// Recognize returns the name of the sender that a request seems to come from, by
// its header alone. It is a guess that nobody has signed: fit for a hint to the
// operator, never for trust.
func Recognize(h Header) (name string, ok bool) {
	for _, m := range marks() {
		if h.Get(m.field) != "" {
			return m.sender, true
		}
	}
	return "", false
}
