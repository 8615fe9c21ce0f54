package postgres

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestMain(m *testing.M) {
	if os.Getenv("SLUICE_PG_CHILD") != "" {
		orphanMaker()
	}
	os.Exit(m.Run())
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func show(t *testing.T, conn *pgx.Conn, setting string) string {
	t.Helper()
	var v string
	if err := conn.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDataSurvivesKillAndRestart(t *testing.T) {
	s, err := Start(t.Context(), Options{Scram: true, Settings: map[string]string{"work_mem": "5MB"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn := connect(t, s.URL)
	for setting, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "max_connections": "200", "work_mem": "5MB",
	} {
		if got := show(t, conn, setting); got != want {
			t.Errorf("%s = %s, want %s", setting, got, want)
		}
	}
	if _, err := conn.Exec(t.Context(), "CREATE TABLE survivors (n int); INSERT INTO survivors VALUES (42)"); err != nil {
		t.Fatal(err)
	}
	url := s.URL
	for name, end := range map[string]func() error{"kill": s.Kill, "stop": s.Stop, "crash": s.Crash} {
		if err := end(); err != nil {
			t.Fatal(name, err)
		}
		if _, err := pgx.Connect(t.Context(), url); err == nil {
			t.Fatalf("after %s the server still answers", name)
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(name, err)
		}
		if s.URL != url {
			t.Fatalf("after %s the URL changed from %s to %s", name, url, s.URL)
		}
		var n int
		if err := connect(t, url).QueryRow(t.Context(), "SELECT n FROM survivors").Scan(&n); err != nil || n != 42 {
			t.Fatalf("after %s: n = %d, %v", name, n, err)
		}
	}
	wrong := strings.Replace(url, s.password, "wrong", 1)
	var refused *pgconn.PgError
	if _, err := pgx.Connect(t.Context(), wrong); !errors.As(err, &refused) || refused.Code != "28P01" {
		t.Errorf("a wrong password got %v, want 28P01", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Close left %s: %v", s.dir, err)
	}
}

func TestFrozenServerAnswersOnlyOnceThawed(t *testing.T) {
	s, err := Start(t.Context(), Options{LogFile: filepath.Join(t.TempDir(), "server.log")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn := connect(t, s.URL)
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT 1")
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatal("a frozen server answered", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := s.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // thaws it first
		t.Error(err)
	}
	if log, err := os.ReadFile(s.options.LogFile); err != nil || len(log) == 0 {
		t.Errorf("the log has %d bytes, %v", len(log), err)
	}
}

// TestServerDiesWithItsParent kills a process that owns a server and checks that
// the server ends too.
func TestServerDiesWithItsParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no parent-death signal here")
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "SLUICE_PG_CHILD=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := out.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	dirOfChild, url, _ := strings.Cut(strings.TrimSpace(string(buf[:n])), " ")
	t.Cleanup(func() { os.RemoveAll(dirOfChild) })
	connect(t, url).Close(t.Context())
	if err := parent.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	parent.Wait()
	deadline, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(deadline, url)
		if err != nil && deadline.Err() == nil {
			return
		}
		if deadline.Err() != nil {
			t.Fatal("the server outlives its parent")
		}
		conn.Close(deadline)
	}
}

// orphanMaker starts a server, prints where, and waits to be killed.
func orphanMaker() {
	s, err := Start(context.Background(), Options{})
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	os.Stdout.WriteString(s.dir + " " + s.URL + "\n")
	select {}
}
