package testkit

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { Main(m) }

func TestWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		calls := 0
		if !Within(time.Minute, func() bool { calls++; return calls == 3 }) || time.Since(began) != 2*pollEvery {
			t.Errorf("true at the third of %d calls, after %s", calls, time.Since(began))
		}
		if began = time.Now(); Within(time.Minute, func() bool { return false }) || time.Since(began) < time.Minute {
			t.Errorf("never true: ended after %s", time.Since(began))
		}
		if !Within(0, func() bool { return true }) {
			t.Error("with a limit of 0 ok is not called")
		}
	})
}

func TestEveryTestHasItsOwnDatabase(t *testing.T) {
	var first string
	connect := func(t *testing.T, url string) *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return conn
	}
	t.Run("one", func(t *testing.T) {
		first = Database(t)
		if _, err := connect(t, first).Exec(t.Context(), "CREATE TABLE mine ()"); err != nil {
			t.Fatal(err)
		}
		if _, err := connect(t, Database(t)).Exec(t.Context(), "SELECT * FROM mine"); err == nil {
			t.Error("another database has the first one's table")
		}
	})
	if _, err := pgx.Connect(t.Context(), first); err == nil {
		t.Error("the database outlives its test")
	}
}

func TestProcess(t *testing.T) {
	p := Start(t, exec.Command("sh", "-c", `echo '{"msg":"begun","n":1}'; trap 'echo ended >&2; exit 3' TERM; while :; do sleep 0.01; done`))
	if n := p.WaitRecords(1, "begun")[0]["n"]; n != 1.0 {
		t.Errorf("record has n=%v", n)
	}
	if !p.Running() {
		t.Error("a running process has ended")
	}
	p.Signal(syscall.SIGTERM)
	if code := p.ExitCode(); code != 3 || p.Running() {
		t.Errorf("exit code %d, running %v", code, p.Running())
	}
	if tail := p.Output.Tail(1); tail != "ended" || p.Output.Count("ended") != 1 {
		t.Errorf("it ends with %q", tail)
	}
	p.Signal(syscall.SIGTERM) // it has ended: no failure
	p.Kill()
}

// failing records the failure and the log of a test.
type failing struct {
	testing.TB
	failed atomic.Bool
	logged strings.Builder
}

func (f *failing) Helper()               {}
func (f *failing) Cleanup(func())        {}
func (f *failing) Errorf(string, ...any) { f.failed.Store(true) }
func (f *failing) Failed() bool          { return f.failed.Load() }
func (f *failing) Logf(format string, args ...any) {
	f.logged.WriteString(args[len(args)-1].(string))
}

func TestProcessWithARaceFailsItsTest(t *testing.T) {
	f := &failing{TB: t}
	p := Start(f, exec.Command("sh", "-c", "echo WARNING: DATA RACE"))
	p.ExitCode()
	p.finish()
	if !f.Failed() || !strings.Contains(f.logged.String(), "DATA RACE") {
		t.Errorf("failed=%v, shown: %q", f.Failed(), f.logged.String())
	}
}

func TestProgramIsBuiltOnce(t *testing.T) {
	file := PlainProgram(t, "sluice/infra/cmd/sender")
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	again, err := os.Stat(PlainProgram(t, "sluice/infra/cmd/sender"))
	if err != nil || !again.ModTime().Equal(before.ModTime()) {
		t.Errorf("built at %v, again at %v, %v", before.ModTime(), again, err)
	}
}

func TestAddressesDiffer(t *testing.T) {
	if a, b := Address(t), Address(t); a == b {
		t.Errorf("%s twice", a)
	}
}
