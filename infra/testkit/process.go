package testkit

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a process that a test has started. It ends with the test.
type Process struct {
	Cmd *exec.Cmd
	// Output is what the process prints to stdout and stderr, unless the command
	// sets other writers.
	Output Output
	Ended  chan struct{} // closed when the process has ended

	tb testing.TB
}

// shownLines is how much of the output of a failed test's process is shown.
const shownLines = 200

// Start runs a command and kills it when the test ends. The test fails when the
// process printed a data race or a panic. A failed test shows the end of the
// output.
func Start(tb testing.TB, cmd *exec.Cmd) *Process {
	tb.Helper()
	p := &Process{Cmd: cmd, Ended: make(chan struct{}), tb: tb}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.Output
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.Output
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // the status is read from ProcessState
		close(p.Ended)
	}()
	tb.Cleanup(p.finish)
	return p
}

func (p *Process) finish() {
	p.Kill()
	name := filepath.Base(p.Cmd.Path)
	for _, bad := range []string{"DATA RACE", "panic: ", "goroutine 1 ["} {
		if strings.Contains(p.Output.String(), bad) {
			p.tb.Errorf("the output of %s has %q", name, bad)
		}
	}
	if p.tb.Failed() {
		p.tb.Logf("output of %s:\n%s", name, p.Output.Tail(shownLines))
	}
}

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.Ended:
		return false
	default:
		return true
	}
}

// Signal sends a signal. It is no error that the process has ended.
func (p *Process) Signal(s syscall.Signal) { _ = p.Cmd.Process.Signal(s) }

// Kill ends the process as kill -9 does, and waits for it.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill() // fails when it has ended
	<-p.Ended
}

// ExitCode waits for the process to end by itself and returns its exit code.
func (p *Process) ExitCode() int {
	p.tb.Helper()
	select {
	case <-p.Ended:
		return p.Cmd.ProcessState.ExitCode()
	case <-time.After(Patience):
		p.tb.Fatalf("%s still runs after %s", filepath.Base(p.Cmd.Path), Patience)
		return -1
	}
}

// WaitRecords waits until the process has logged n records with that message and
// returns them all. A process logs an event after its effect can be seen, so a
// test has to wait for the record.
func (p *Process) WaitRecords(n int, message string) (found []map[string]any) {
	p.tb.Helper()
	if !Within(Patience, func() bool { found = p.Output.Records(message); return len(found) >= n }) {
		p.tb.Fatalf("%d records %q, want %d", len(found), message, n)
	}
	return found
}
