package entrypoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/infra/testkit"
)

// The test binary runs as three processes: the test, the wrapper and the app. They
// communicate through lines in files of the directory NOTES.
func TestMain(m *testing.M) {
	switch os.Getenv("PART") {
	case "wrapper":
		os.Exit(playWrapper())
	case "app":
		os.Exit(playApp(os.Args[1]))
	}
	testkit.Main(m)
}

func playWrapper() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if os.Getenv("RUN_FOR") != "" {
		go func() { // ends with the process
			awaitFile("cancel")
			cancel()
		}()
	}
	if err := os.Setenv("PART", "app"); err != nil {
		panic(err)
	}
	duration := func(name string) time.Duration {
		d, _ := time.ParseDuration(os.Getenv(name)) // zero takes the default
		return d
	}
	least, most := 20*time.Millisecond, 160*time.Millisecond
	if d := duration("BACKOFF"); d > 0 {
		least, most = d, d
	}
	code, err := Run(ctx, Options{
		Command:     append([]string{os.Args[0]}, os.Args[1:]...),
		Logger:      slog.New(slog.NewTextHandler(os.Stderr, nil)),
		MinBackoff:  least,
		MaxBackoff:  most,
		StableAfter: duration("STABLE_AFTER"),
		SettleDelay: duration("SETTLE_DELAY"),
		Grace:       duration("GRACE"),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

func playApp(part string) int {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1)
	note("starts", strconv.FormatInt(time.Now().UnixNano(), 10))
	note("pids", strconv.Itoa(os.Getpid()))
	switch part {
	case "crash":
		return 3
	case "end":
		return 0
	case "end-on-term":
		<-signals
		return 0
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		select {}
	case "family":
		// A child in a session of its own, with a child and a grandchild.
		shell(`echo $$ >>"$NOTES/family"; sh -c 'echo $$ >>"$NOTES/family"; sleep 1000 & echo $! >>"$NOTES/family"; wait' & wait`)
	case "receive":
		receive(os.Getenv("APP_ADDR"))
	case "orphans":
		// Each leaves a child behind that ends once its parent is gone.
		for range 10 {
			shell(`(sleep 0.05; echo $$ >>"$NOTES/orphans") &`)
		}
	}
	go func() { // ends with the process
		for sig := range signals {
			note("signals", sig.String())
		}
	}()
	awaitFile("release")
	return 7
}

func shell(script string) {
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	go func() { _ = cmd.Wait() }() // ends with the process
}

func note(name, line string) {
	f, err := os.OpenFile(filepath.Join(os.Getenv("NOTES"), name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := f.WriteString(line + "\n"); err != nil {
		panic(err)
	}
}

func awaitFile(name string) {
	for range time.Tick(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(os.Getenv("NOTES"), name)); err == nil {
			return
		}
	}
}

// wrapper is the wrapper's process, seen from the test.
type wrapper struct {
	*testkit.Process
	t   *testing.T
	cmd *exec.Cmd
	dir string
}

func startWrapper(t *testing.T, part string, env ...string) *wrapper {
	t.Helper()
	w := newWrapper(t, part, env...)
	w.start()
	return w
}

func newWrapper(t *testing.T, part string, env ...string) *wrapper {
	t.Helper()
	w := &wrapper{t: t, dir: t.TempDir()}
	w.cmd = exec.Command(os.Args[0], part)
	// The race detector would make each part linger a second at its end.
	w.cmd.Env = append(os.Environ(), append(env, "PART=wrapper", "NOTES="+w.dir, "GORACE=atexit_sleep_ms=0")...)
	return w
}

func (w *wrapper) start() {
	w.t.Helper()
	w.Process = testkit.Start(w.t, w.cmd)
}

// kill sends sig directly to the app, not to the wrapper.
func (w *wrapper) kill(sig syscall.Signal) {
	w.t.Helper()
	pids := w.notes("pids")
	if err := syscall.Kill(int(number(w.t, pids[len(pids)-1])), sig); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wrapper) note(name string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), nil, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wrapper) notes(name string) []string {
	text, _ := os.ReadFile(filepath.Join(w.dir, name)) // a missing file has no lines yet
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")[:bytes.Count(text, []byte("\n"))]
}

func (w *wrapper) await(name string, lines int) {
	w.t.Helper()
	testkit.Eventually(w.t, fmt.Sprintf("%d lines of %s", lines, name), func() bool { return len(w.notes(name)) >= lines })
}

func (w *wrapper) awaitLog(message string) {
	w.t.Helper()
	testkit.Eventually(w.t, message, func() bool { return strings.Contains(w.Output.String(), message) })
}

// zombies counts the dead and unreaped children of pid.
func zombies(t *testing.T, pid int) int {
	t.Helper()
	return len(processes(t, pid, true))
}

func childOf(t *testing.T, pid int) int {
	t.Helper()
	pids := processes(t, pid, false)
	if len(pids) != 1 {
		t.Fatalf("%d children of %d, want one", len(pids), pid)
	}
	return pids[0]
}

// processes returns the children of parent that are zombies, or are not.
func processes(t *testing.T, parent int, dead bool) []int {
	t.Helper()
	out, err := exec.Command("ps", "-eo", "pid=,ppid=,state=").Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("ps is not here to ask about processes (Debian: procps)")
	}
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for line := range strings.Lines(string(out)) {
		var pid, ppid int
		var state string
		if _, err := fmt.Sscan(line, &pid, &ppid, &state); err != nil {
			t.Fatal(err)
		}
		if ppid == parent && dead == strings.HasPrefix(state, "Z") {
			pids = append(pids, pid)
		}
	}
	return pids
}
