// Package e2e holds the end-to-end tests of the sidecar: the real binary as a
// process of its own, a real PostgreSQL, and a recording app on a real listener
// in the test's process, whose behaviour each test sets.
//
// It contains nothing but tests. Each test has a database, ports and processes
// of its own and leaves none behind, so that all of them may run side by side.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"sluice/infra/postgres"
)

// What TestMain has made for all tests.
var (
	binary      string // the sidecar, with the race detector when the tests have it
	plainBinary string // without it, for tests that measure memory
	databases   string // URL of the server on which fresh databases are made
)

func TestMain(m *testing.M) {
	// These tests wait more than they work: more of them at a time than there
	// are cores, unless the command line says otherwise.
	if err := flag.Set("test.parallel", strconv.Itoa(max(6, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "sluice-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make directory:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if databases = os.Getenv(postgres.TestURLVar); databases == "" {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		server, err := postgres.Start(ctx, postgres.Options{MaxConnections: 400})
		if err != nil {
			fmt.Fprintln(os.Stderr, "start PostgreSQL:", err)
			return 1
		}
		defer func() {
			if err := server.Close(); err != nil {
				fmt.Fprintln(os.Stderr, "stop PostgreSQL:", err)
				code = max(code, 1)
			}
		}()
		databases = server.URL
	}
	return m.Run()
}

// build makes the binaries with the toolchain that runs the tests.
func build(dir string) error {
	plainBinary = filepath.Join(dir, "sidecar")
	if err := compile("-o", plainBinary); err != nil {
		return err
	}
	binary = plainBinary
	if raced {
		binary = filepath.Join(dir, "sidecar-race")
		return compile("-race", "-o", binary)
	}
	return nil
}

func compile(args ...string) error {
	c := exec.Command("go", append(append([]string{"build"}, args...), "sluice/sidecar/cmd/sidecar")...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build sidecar: %w\n%s", err, out)
	}
	return nil
}
