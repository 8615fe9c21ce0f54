package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/infra/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func shell(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Start(Command{Path: "/bin/sh", Args: []string{"-c", script}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	return p
}

func TestCPUCountsChildren(t *testing.T) {
	// The shell itself only waits; its child uses the CPU.
	p := shell(t, `sh -c 'while :; do :; done' & wait`)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		used, err := p.CPU()
		if err != nil {
			t.Fatal(err)
		}
		if used >= 100*time.Millisecond {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a busy child has used %v", used)
		}
	}
}

func TestParent(t *testing.T) {
	p := shell(t, "exec sleep 60")
	if parent, err := Parent(p.cmd.Process.Pid); err != nil || parent != os.Getpid() {
		t.Errorf("parent is %d (%v), want %d", parent, err, os.Getpid())
	}
	if err := p.Err(); err != nil {
		t.Errorf("running process has ended: %v", err)
	}
	if err := p.Stop(time.Minute); err != nil {
		t.Error(err)
	}
	if p.Err() == nil {
		t.Error("stopped process has not ended")
	}
}

func TestWaitReportsFailure(t *testing.T) {
	p := shell(t, "echo no luck; exit 3")
	if err := p.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "no luck") || !strings.Contains(err.Error(), "3") {
		t.Errorf("error is %v, want the status and the log", err)
	}
	if err := shell(t, "exit 0").Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStopKills(t *testing.T) {
	p := shell(t, "trap '' TERM; while :; do sleep 0.05; done")
	if err := p.Stop(100 * time.Millisecond); err != nil {
		t.Error(err)
	}
	if p.Err() == nil {
		t.Error("process has outlived Stop")
	}
}
