package testkit

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared is what the tests of this process share. The first test that needs a
// part makes it.
var shared struct {
	sync.Mutex
	main      bool // whether Main runs, which removes everything
	server    server
	directory string            // of the programs
	programs  map[string]string // files by what was built
}

// Main is all that a package's TestMain needs: it runs the tests, removes what
// they shared and exits. When every test passed it also runs the checks, which
// look for what the tests left behind.
func Main(m *testing.M, checks ...func() error) {
	shared.Lock()
	shared.main = true
	shared.Unlock()

	code := m.Run()

	if err := remove(); err != nil {
		fmt.Fprintln(os.Stderr, "after the tests:", err)
		code = max(code, 1)
	}
	for _, check := range checks {
		if code != 0 {
			break
		}
		if err := check(); err != nil {
			fmt.Fprintln(os.Stderr, "after the tests:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func remove() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.directory != "" {
		if err := os.RemoveAll(shared.directory); err != nil {
			return fmt.Errorf("remove programs: %w", err)
		}
	}
	return shared.server.stop()
}

// needMain fails a test whose package does not call Main, since nothing would
// remove what it shares. The caller holds the lock.
func needMain(tb testing.TB) {
	tb.Helper()
	if !shared.main {
		tb.Fatal("the package's TestMain does not call testkit.Main")
	}
}
