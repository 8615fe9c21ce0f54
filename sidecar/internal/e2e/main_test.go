// Package e2e holds the end-to-end tests of the sidecar: the real binary as a
// process of its own, a real PostgreSQL, and a recording app on a real listener
// in the test's process, whose behaviour each test sets.
//
// It contains nothing but tests. Each test has a database, ports and processes
// of its own and leaves none behind, so that all of them may run side by side.
package e2e

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"testing"

	"sluice/infra/testkit"
)

// program is the sidecar's main package.
const program = "sluice/sidecar/cmd/sidecar"

func TestMain(m *testing.M) {
	if ledger := os.Getenv(ledgerVar); ledger != "" {
		os.Exit(playApp(ledger))
	}
	// These tests wait more than they work: more of them at a time than there
	// are cores, unless the command line says otherwise.
	if err := flag.Set("test.parallel", strconv.Itoa(max(6, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	flag.Parse()
	testkit.Main(m)
}
