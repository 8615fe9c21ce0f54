package service_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sluice/infra/postgres"
)

// What TestMain has made for all tests.
var (
	binary    string // the app, with the race detector when the tests have it
	databases string // URL of the server on which fresh databases are made
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	fail := func(what string, err error) int {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "app-test-")
	if err != nil {
		return fail("make directory", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "app")
	args := []string{"build", "-o", binary}
	if race {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "sluice/app/cmd/app")...).CombinedOutput(); err != nil {
		return fail("build app", fmt.Errorf("%w\n%s", err, out))
	}
	if databases = os.Getenv(postgres.TestURLVar); databases == "" {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		server, err := postgres.Start(ctx, postgres.Options{})
		if err != nil {
			return fail("start PostgreSQL", err)
		}
		defer func() {
			if err := server.Close(); err != nil {
				code = max(code, fail("stop PostgreSQL", err))
			}
		}()
		databases = server.URL
	}
	return m.Run()
}

// newDatabase returns the URL of an empty database that is dropped when the
// test ends.
func newDatabase(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	url, drop, err := postgres.Fresh(ctx, databases)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := drop(ctx); err != nil {
			t.Error(err)
		}
	})
	return url
}
