// Package testkit is what the tests of all three modules share: waiting with a
// limit, a fresh database, a program built from source, a process and its output,
// an address that is free.
//
// It owns the PostgreSQL server and the built programs of a test process, and
// removes them after the tests. It must never be imported by code that is not a
// test, and never know the code under test: a helper that knows the sidecar or
// the app stays with their tests. Tests call it, and their TestMain calls Main.
package testkit

import (
	"testing"
	"time"
)

// Patience is how long a test waits for anything. It costs nothing when the test
// passes, and a slow, busy machine needs far less.
const Patience = 2 * time.Minute

const pollEvery = 5 * time.Millisecond

// Eventually polls until ok returns true. It fails and ends the test when that
// takes longer than Patience. Call it from the test's own goroutine.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	if !Within(Patience, ok) {
		tb.Fatalf("not within %s: %s", Patience, what)
	}
}

// Within polls until ok returns true, and reports whether that happened within the
// limit. It calls ok at least once.
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
