package entrypoint

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/infra/steady"
	"sluice/infra/testkit"
)

func TestCrashedAppIsRestartedWithBackoff(t *testing.T) {
	w := startWrapper(t, "crash")
	w.await("starts", 6)
	var gaps []time.Duration
	starts := w.notes("starts")
	for i := 1; i < len(starts); i++ {
		gaps = append(gaps, time.Duration(number(t, starts[i])-number(t, starts[i-1])))
	}
	// 20, 40, 80, 160, 160 ms: doubled up to the limit.
	for i, least := range []time.Duration{20, 40, 80, 160, 160} {
		if gaps[i] < least*time.Millisecond {
			t.Errorf("gap %d is %v, want at least %v", i, gaps[i], least*time.Millisecond)
		}
	}
}

func TestStopDuringBackoffGivesLastStatus(t *testing.T) {
	w := startWrapper(t, "crash", "BACKOFF=1h")
	w.awaitLog("App ended, restarting")
	w.Signal(syscall.SIGTERM)
	if code := w.ExitCode(); code != 3 {
		t.Errorf("exit status %d, want the app's last one, 3", code)
	}
	if n := len(w.notes("starts")); n != 1 {
		t.Errorf("%d starts, want 1", n)
	}
}

func TestLongRunStartsBackoffAnew(t *testing.T) {
	w := startWrapper(t, "serve", "STABLE_AFTER=1ns")
	for i := 1; i <= 5; i++ {
		w.await("pids", i)
		w.kill(syscall.SIGKILL)
	}
	w.await("pids", 6) // after the line about the fifth end
	if log := w.Output.String(); strings.Contains(log, "delay=40ms") {
		t.Errorf("backoff grew for an app that counts as stable:\n%s", log)
	}
}

func TestSignalsAreForwardedOnce(t *testing.T) {
	w := startWrapper(t, "serve")
	w.await("starts", 1)
	w.Signal(syscall.SIGHUP)
	w.await("signals", 1)
	w.Signal(syscall.SIGHUP)
	w.await("signals", 2)
	for range 3 {
		w.Signal(syscall.SIGTERM)
	}
	w.await("signals", 3)
	// A stop signal of another kind is forwarded; the repeated SIGTERMs must not be.
	w.Signal(syscall.SIGUSR1)
	w.await("signals", 4)
	w.note("release")
	if code := w.ExitCode(); code != 7 {
		t.Errorf("exit status %d, want the app's, 7", code)
	}
	if got := strings.Join(w.notes("signals"), " "); got != "hangup hangup terminated user defined signal 1" {
		t.Errorf("the app saw %q", got)
	}
	if n := len(w.notes("starts")); n != 1 {
		t.Errorf("%d starts, want 1", n)
	}
}

// An app that does not end is killed within the grace, however short that is, and
// its status is returned.
func TestSignalDeathGivesStatus(t *testing.T) {
	for _, grace := range []time.Duration{2 * time.Second, 5 * time.Second} {
		w := startWrapper(t, "deaf", "GRACE="+grace.String())
		w.await("starts", 1)
		stalled := steady.Watch()
		told := time.Now()
		w.Signal(syscall.SIGTERM)
		if code := w.ExitCode(); code != 128+9 {
			t.Errorf("exit status %d, want 137 of an app killed after its time", code)
		}
		took := time.Since(told)
		if d := stalled(); d > grace/20 {
			t.Logf("the machine stalled for %s, which proves nothing", d)
		} else if took < grace*8/10 || took >= grace {
			t.Errorf("grace %s: ended after %s", grace, took)
		}
	}
}

// The status of an app that ends when it is told to is returned, however short the
// grace is.
func TestCleanEndWithAShortGrace(t *testing.T) {
	w := startWrapper(t, "end-on-term", "GRACE=1s")
	w.await("starts", 1)
	w.Signal(syscall.SIGTERM)
	if code := w.ExitCode(); code != 0 {
		t.Errorf("exit status %d, want 0", code)
	}
}

// The app is killed before the platform would do it, with time left to kill its
// descendants and to end.
func TestGraceIsDivided(t *testing.T) {
	for grace, want := range map[time.Duration]time.Duration{
		0: 328 * time.Second, time.Second: 875 * time.Millisecond, 8 * time.Second: 7 * time.Second, time.Hour: time.Hour - 2*time.Second,
	} {
		o := Options{Grace: grace}.withDefaults()
		if got := o.killAfter(); got != want || got+o.sweepLimit() >= o.Grace {
			t.Errorf("grace %s: killed after %s, swept for %s", grace, got, o.sweepLimit())
		}
	}
}

func TestCleanEndWaitsForTheOrderToStop(t *testing.T) {
	w := startWrapper(t, "end", "SETTLE_DELAY=1h")
	w.awaitLog("App ended, restarting")
	w.Signal(syscall.SIGTERM)
	if code := w.ExitCode(); code != 0 {
		t.Errorf("exit status %d, want 0", code)
	}
	if n := len(w.notes("starts")); n != 1 {
		t.Errorf("%d starts, want 1: it ended because it was asked to", n)
	}
}

func TestCleanEndWithoutOrderIsRestarted(t *testing.T) {
	w := startWrapper(t, "end", "SETTLE_DELAY=10ms")
	w.await("starts", 3)
}

func TestNothingOfACrashedAppLivesOn(t *testing.T) {
	needsLinux(t)
	w := startWrapper(t, "family")
	w.await("family", 3)
	old := w.notes("family")
	w.kill(syscall.SIGKILL)
	w.await("starts", 2)
	w.await("family", 6)
	for _, pid := range old {
		if alive(t, pid) {
			t.Errorf("process %s of the crashed app still runs", pid)
		}
	}
	w.Signal(syscall.SIGTERM)
	w.note("release")
	w.ExitCode()
	for _, pid := range w.notes("family") {
		if alive(t, pid) {
			t.Errorf("process %s of the stopped app still runs", pid)
		}
	}
}

func TestOrphansAreReaped(t *testing.T) {
	needsLinux(t)
	w := startWrapper(t, "orphans")
	w.await("orphans", 10)
	testkit.Eventually(t, "no zombie is left", func() bool { return zombies(t, w.cmd.Process.Pid) == 0 })
}

// To PID 1 of a namespace, as in a container, the kernel delivers no signal without
// a handler, and reparents every orphan.
func TestAsFirstProcessOfANamespace(t *testing.T) {
	needsLinux(t)
	if err := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "true").Run(); err != nil {
		t.Skip("no process namespace can be made here: ", err)
	}
	w := newWrapper(t, "orphans")
	w.cmd.Args = append([]string{"unshare", "--pid", "--fork", "--mount-proc", "--kill-child"}, w.cmd.Args...)
	w.cmd.Path, _ = exec.LookPath("unshare")
	w.start()
	w.await("orphans", 10)
	first := childOf(t, w.cmd.Process.Pid)
	testkit.Eventually(t, "no zombie is left", func() bool { return zombies(t, first) == 0 })
	if err := syscall.Kill(first, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	w.await("signals", 1)
	w.note("release")
	if code := w.ExitCode(); code != 7 {
		t.Errorf("exit status %d, want the app's, 7", code)
	}
}

func TestAppDiesWithItsWrapper(t *testing.T) {
	needsLinux(t)
	w := startWrapper(t, "serve")
	w.await("pids", 1)
	pid := w.notes("pids")[0]
	w.Signal(syscall.SIGKILL)
	w.ExitCode()
	testkit.Eventually(t, "the app is gone", func() bool { return !alive(t, pid) })
}

func TestTwentyKillsDoNotEndTheWrapper(t *testing.T) {
	w := startWrapper(t, "serve")
	for i := 1; i <= 20; i++ {
		w.await("pids", i)
		w.kill(syscall.SIGKILL)
	}
	w.await("pids", 21)
	w.Signal(syscall.SIGTERM)
	w.note("release")
	if code := w.ExitCode(); code != 7 {
		t.Errorf("exit status %d, want the app's, 7", code)
	}
}

func TestCommandThatCannotBeStarted(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("not a program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		command []string
		code    int
	}{
		{nil, 2},
		{[]string{"no-such-command-here"}, 127},
		{[]string{"/no/such/file"}, 127},
		{[]string{plain}, 126},
	} {
		t.Run(fmt.Sprint(c.command), func(t *testing.T) {
			code, err := Run(context.Background(), Options{Command: c.command})
			if err == nil || code != c.code {
				t.Errorf("Run = %d, %v; want %d and an error", code, err, c.code)
			}
		})
	}
}

func TestContextStopsTheApp(t *testing.T) {
	w := startWrapper(t, "end-on-term", "RUN_FOR=1")
	w.await("starts", 1)
	w.note("cancel")
	if code := w.ExitCode(); code != 0 {
		t.Errorf("exit status %d, want 0", code)
	}
}

func needsLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("orphans are adopted on Linux only")
	}
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// alive says whether pid runs; a zombie does not.
func alive(t *testing.T, pid string) bool {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	return !bytes.Equal(fields[0], []byte("Z"))
}
