package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// Program builds the main package pkg and returns the file, with the race detector
// when the tests use it. All tests of a package share one build.
func Program(tb testing.TB, pkg string) string {
	tb.Helper()
	return program(tb, pkg, Race)
}

// PlainProgram is Program without the race detector, for tests that measure
// memory or time.
func PlainProgram(tb testing.TB, pkg string) string {
	tb.Helper()
	return program(tb, pkg, false)
}

func program(tb testing.TB, pkg string, race bool) string {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	needMain(tb)
	key := strconv.FormatBool(race) + " " + pkg
	if file, built := shared.programs[key]; built {
		return file
	}
	if shared.directory == "" {
		dir, err := os.MkdirTemp("", "sluice-test-")
		if err != nil {
			tb.Fatal(err)
		}
		shared.directory, shared.programs = dir, map[string]string{}
	}
	file := filepath.Join(shared.directory, strconv.Itoa(len(shared.programs)), filepath.Base(pkg))
	args := []string{"build", "-o", file}
	if race {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, pkg)...).CombinedOutput(); err != nil {
		tb.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	shared.programs[key] = file
	return file
}
