package routes

import (
	"errors"
	"strconv"

	"sluice/sidecar/senders"
)

const senderMap = "senders"

// declare reads the section senders: the schemes of senders that only this file knows.
func (f *file) declare(section any) {
	schemes, ok := section.(map[string]any)
	if !ok {
		f.Report("senders must be a mapping of names and schemes", senderMap)
		return
	}
	for _, name := range sortedKeys(schemes) {
		f.own[name] = nil // so that its routes are not told that they have no sender
		if _, err := senders.Lookup(name); err == nil {
			f.Report("senders: "+name+" is the name of a built-in sender; take another", senderMap, name)
			continue
		}
		scheme, problems := senders.ReadScheme(schemes[name])
		if len(problems) == 0 {
			sender, err := scheme.Compile(name)
			f.own[name] = sender
			errors.As(err, &problems) // Compile returns no other error
		}
		for _, p := range problems {
			f.Report("senders."+name+": "+p.Error(), append([]string{senderMap, name}, place(schemes[name], p.Place())...)...)
		}
	}
}

// place leaves out the number of an item where a list of one is written without the
// list.
func place(value any, at []string) []string {
	var way []string
	for _, step := range at {
		i, err := strconv.Atoi(step)
		list, isList := value.([]any)
		switch {
		case isList && err == nil && i < len(list):
			value = list[i]
		case isList || err == nil:
			continue
		default:
			members, _ := value.(map[string]any)
			value = members[step]
		}
		way = append(way, step)
	}
	return way
}

// sender returns the sender of that name: built in, or this file's own. It is nil for
// one whose scheme has a problem.
func (f *file) sender(name string) (senders.Sender, error) {
	if own, ok := f.own[name]; ok {
		return own, nil
	}
	return senders.Lookup(name)
}
