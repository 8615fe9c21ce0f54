package chaos

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"sluice/infra/rehearsal/verdict"
)

// faults records the faults of the run so far. The zero value is ready.
type faults struct {
	mu   sync.Mutex
	list []*verdict.Fault // End is zero while it lasts
}

// begin records a fault that is about to start. Calling end records its end.
func (f *faults) begin(fault verdict.Fault) (end func()) {
	fault.Begin, fault.End = time.Now(), time.Time{}
	f.mu.Lock()
	f.list = append(f.list, &fault)
	f.mu.Unlock()
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		fault.End = time.Now()
	}
}

// add records a fault whose beginning and end are known.
func (f *faults) add(fault verdict.Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, &fault)
}

// all returns the faults by their beginning. A fault that has not ended gets the
// current time as its end.
func (f *faults) all() []verdict.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]verdict.Fault, len(f.list))
	for i, fault := range f.list {
		list[i] = *fault
		if list[i].End.IsZero() {
			list[i].End = time.Now()
		}
	}
	slices.SortFunc(list, func(a, b verdict.Fault) int { return cmp.Compare(a.Begin.UnixNano(), b.Begin.UnixNano()) })
	return list
}

// current names the faults that have not ended, for the progress line.
func (f *faults) current() (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fault := range f.list {
		if fault.End.IsZero() {
			names = append(names, describe(fault))
		}
	}
	return names
}

func describe(f *verdict.Fault) string {
	if f.Replica == "" {
		return f.Kind
	}
	return f.Replica + ": " + f.Kind
}
