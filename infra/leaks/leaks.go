// Package leaks fails tests that leave goroutines behind.
//
// It owns the patience that goleak lacks: that gives goroutines four tenths of
// a second to end, all of which a busy machine may need for something else. It
// must never let a goroutine pass that does not end. Tests call it.
package leaks

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const patience = time.Minute

// Main is the whole of a package's TestMain: it runs the tests, looks for what
// they left behind, and exits.
func Main(m *testing.M, ignored ...goleak.Option) {
	code := m.Run()
	if code == 0 {
		if err := Find(ignored...); err != nil {
			fmt.Fprintln(os.Stderr, "after the tests:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Find returns an error that names the goroutines that have not ended, nil when
// there are none but the ignored ones.
func Find(ignored ...goleak.Option) error { return find(patience, ignored...) }

func find(patience time.Duration, ignored ...goleak.Option) error {
	for end := time.Now().Add(patience); ; {
		err := goleak.Find(ignored...)
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
