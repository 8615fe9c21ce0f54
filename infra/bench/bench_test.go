package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"sluice/infra/bench/standin"
	"sluice/infra/leaks"
)

// The test binary runs as the app or the proxy with those arguments, as cmd/bench
// does.
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "app":
		err = standin.App(context.Background(), os.Args[2])
	case len(os.Args) == 4 && os.Args[1] == "proxy":
		err = standin.ReverseProxy(context.Background(), os.Args[2], os.Args[3])
	default:
		leaks.Main(m)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// TestRun measures everything, but too briefly for meaningful figures.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server and builds the bundle")
	}
	c := Defaults()
	c.SlowRounds, c.Deploy = 1, 6*time.Second
	c.Profile = t.TempDir()
	c.Rounds, c.Turn, c.Held = 1, 500*time.Millisecond, 100
	c.Rows, c.Lanes, c.UsualRows, c.IdleConnections = 300, 100, 200, 20
	c.DatabaseURL = os.Getenv("SLUICE_TEST_DATABASE_URL")
	c.Self = os.Args[0]
	c.StandInApp = func(addr string) []string { return []string{"app", addr} }
	c.StandInProxy = func(addr, upstream string) []string { return []string{"proxy", addr, upstream} }
	c.Progress = func(line string) { t.Log(line) }
	c.Sections = Sections()
	if os.Getenv("SLUICE_LONG") == "" { // infra/rehearsal plays the scenario itself
		c.Sections = slices.DeleteFunc(c.Sections, func(name string) bool { return name == "rolled" })
	}
	if _, err := exec.LookPath("cc"); err != nil || runtime.GOOS != "linux" {
		t.Log("no C compiler on Linux: the slow disk is left out")
		c.Sections = slices.DeleteFunc(c.Sections, func(name string) bool { return name == "disk" })
	}
	report, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Sections) != len(c.Sections) {
		t.Errorf("%d sections, want %d", len(report.Sections), len(c.Sections))
	}
	for _, s := range report.Sections {
		for _, row := range s.Rows {
			for i, f := range row.Rounds {
				if f.Rate <= 0 && f.P99 <= 0 && f.Megabytes <= 0 {
					t.Errorf("%s, %s, round %d: nothing was measured: %+v", s.Name, row.Name, i, f)
				}
			}
		}
	}
	if r := report.section(sectionPass).row("sidecar, verifying").Ratios; len(r) == 0 || r[0].Median <= 0 {
		t.Errorf("ratio of the sidecar is %+v", r)
	}
	profiles, err := filepath.Glob(filepath.Join(c.Profile, "pass-*.pprof"))
	if err != nil || len(profiles) != 2 {
		t.Errorf("profiles of pass: %v (%v), want two", profiles, err)
	}
	for _, file := range profiles {
		if info, err := os.Stat(file); err != nil || info.Size() == 0 {
			t.Errorf("profile %s is empty (%v)", file, err)
		}
	}
}
