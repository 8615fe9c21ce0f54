package postgres

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

// TestURLVar names a running server for tests to share; New makes databases of
// its own on it.
const TestURLVar = "SLUICE_TEST_DATABASE_URL"

const testLimit = time.Minute

// shared is the server of this test process, started by the first New.
var shared struct {
	sync.Mutex
	main   bool
	url    string
	server *Server
}

// Main is the whole of a package's TestMain: it runs the tests, stops the
// server they used and exits. When all went well it makes the checks before
// that, for what the tests may have left behind.
func Main(m *testing.M, checks ...func() error) {
	shared.Lock()
	shared.main = true
	shared.url = os.Getenv(TestURLVar)
	shared.Unlock()

	code := m.Run()

	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		if err := shared.server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "stop test server:", err)
			code = max(code, 1)
		}
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

// New returns the URL of a fresh, empty database which is dropped, with
// whoever is still connected, when the test ends. Databases of different tests
// share a server.
func New(tb testing.TB) string {
	tb.Helper()
	base, err := sharedURL()
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), testLimit)
	defer cancel()
	fresh, drop, err := Fresh(ctx, base)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testLimit)
		defer cancel()
		if err := drop(ctx); err != nil {
			tb.Error(err)
		}
	})
	return fresh
}

func sharedURL() (string, error) {
	shared.Lock()
	defer shared.Unlock()
	if !shared.main {
		return "", fmt.Errorf("postgres.New needs postgres.Main in TestMain")
	}
	if shared.url != "" {
		return shared.url, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), testLimit)
	defer cancel()
	server, err := Start(ctx, Options{})
	if err != nil {
		return "", err
	}
	shared.server, shared.url = server, server.URL
	return shared.url, nil
}
