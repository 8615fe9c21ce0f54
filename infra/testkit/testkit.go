// Package testkit holds what the tests of all three modules need again and
// again: waiting with a limit, a fresh database, a program built from source, a
// process and what it prints, an address that is nobody else's.
//
// It owns what a test process shares: one PostgreSQL server, the programs that
// were built, and their removal when the tests have run. It must never be
// imported by code that is not a test, it never judges what the code under test
// does, and it knows none of it: a helper that knows the sidecar or the app stays
// with the tests of these. Tests call it, and their TestMain calls Main.
package testkit

import (
	"testing"
	"time"
)

// Patience is how long anything may take to come about. It costs nothing where
// all is well, and is far beyond what a slow, busy machine needs.
const Patience = 2 * time.Minute

const pollEvery = 5 * time.Millisecond

// Eventually polls until ok returns true, and ends the test when that does not
// happen within Patience. Call it from the test's own goroutine.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	if !Within(Patience, ok) {
		tb.Fatalf("not within %s: %s", Patience, what)
	}
}

// Within polls until ok returns true, and reports whether it did before the
// limit was over. ok is called once at least.
func Within(limit time.Duration, ok func() bool) bool {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; <-tick.C {
		if ok() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
