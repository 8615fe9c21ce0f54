// Package leaks fails tests that leave goroutines behind.
//
// It waits longer than goleak, which gives goroutines 0.4 s to end: too short on a
// busy machine. It must never ignore a goroutine that does not end. Tests call it.
package leaks

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const patience = time.Minute

// Main is all that a package's TestMain needs: it runs the tests, looks for
// goroutines that they left, and exits.
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

// Find returns an error that names the goroutines that have not ended, except the
// ignored ones; nil when there are none.
func Find(ignored ...goleak.Option) error { return find(patience, ignored...) }

func find(patience time.Duration, ignored ...goleak.Option) error {
	for end := time.Now().Add(patience); ; {
		err := goleak.Find(ignored...)
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
