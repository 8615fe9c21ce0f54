package relay

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/infra/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

const patience = 20 * time.Second

// echo answers each line with itself and counts them.
type echo struct {
	listener net.Listener
	lines    atomic.Int64
}

func startEcho(t *testing.T) *echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{listener: l}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				for r := bufio.NewReader(c); ; {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					e.lines.Add(1)
					if _, err := io.WriteString(c, line); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); work.Wait() })
	return e
}

func open(t *testing.T) (*Relay, *echo) {
	t.Helper()
	e := startEcho(t)
	r, err := New()
	if err == nil {
		err = r.Up(e.listener.Addr().String())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, e
}

func dial(t *testing.T, r *Relay) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// say sends a line and returns the answer.
func say(c net.Conn, line string) (string, error) {
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return "", err
	}
	answer, err := bufio.NewReaderSize(c, 1<<20).ReadString('\n')
	return strings.TrimSuffix(answer, "\n"), err
}

func TestCarries(t *testing.T) {
	r, _ := open(t)
	c := dial(t, r)
	long := strings.Repeat("0123456789", 50_000)
	for _, line := range []string{"a", "", long} {
		if got, err := say(c, line); err != nil || got != line {
			t.Errorf("%d bytes came back as %d, %v", len(line), len(got), err)
		}
	}
}

func TestPassesOnEndOfStream(t *testing.T) {
	r, _ := open(t)
	c := dial(t, r)
	io.WriteString(c, "last\n")
	c.(*net.TCPConn).CloseWrite()
	if all, err := io.ReadAll(c); err != nil || string(all) != "last\n" {
		t.Errorf("%q, %v", all, err)
	}
}

func TestCut(t *testing.T) {
	r, _ := open(t)
	c := dial(t, r)
	if _, err := say(c, "a"); err != nil {
		t.Fatal(err)
	}
	if n := r.Cut(); n != 1 {
		t.Errorf("cut %d connections, want 1", n)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want a reset", err)
	}
	if got, err := say(dial(t, r), "b"); err != nil || got != "b" {
		t.Errorf("the next connection: %q, %v", got, err)
	}
}

func TestDelay(t *testing.T) {
	r, _ := open(t)
	c := dial(t, r)
	const delay = 60 * time.Millisecond
	r.Disturb(Fault{Delay: delay})
	began := time.Now()
	line := strings.Repeat("x", 300_000)
	if got, err := say(c, line); err != nil || got != line {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if took := time.Since(began); took < 2*delay {
		t.Errorf("took %s, want at least %s there and back", took, delay)
	}
	r.Repair()
	if got, err := say(c, "b"); err != nil || got != "b" {
		t.Errorf("repaired: %q, %v", got, err)
	}
}

// TestDrop: the server gets the request, and the client never gets the answer.
func TestDrop(t *testing.T) {
	r, e := open(t)
	c := dial(t, r)
	if _, err := say(c, "a"); err != nil {
		t.Fatal(err)
	}
	const hold = 50 * time.Millisecond
	r.Disturb(Fault{Drop: true, Hold: hold})
	began := time.Now()
	got, err := say(c, "b")
	if got != "" || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("answer %q, %v", got, err)
	}
	if took := time.Since(began); took < hold {
		t.Errorf("cut after %s, want at least %s", took, hold)
	}
	if n := e.lines.Load(); n != 2 {
		t.Errorf("the server got %d lines, want 2", n)
	}
}

func TestDownRefuses(t *testing.T) {
	r, e := open(t)
	c := dial(t, r)
	r.Down()
	if _, err := net.Dial("tcp", r.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: %v, want a refusal", err)
	}
	if got, err := say(c, "a"); err != nil || got != "a" {
		t.Errorf("an open connection: %q, %v", got, err)
	}
	if err := r.Up(e.listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if got, err := say(dial(t, r), "b"); err != nil || got != "b" {
		t.Errorf("up again: %q, %v", got, err)
	}
}

func TestTargetDoesNotListen(t *testing.T) {
	r, e := open(t)
	e.listener.Close()
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		return // the reset came before the connection was noticed
	}
	defer c.Close()
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("read %d, %v, want an error", n, err)
	}
}

func TestCloseEndsADelay(t *testing.T) {
	r, _ := open(t)
	c := dial(t, r)
	r.Disturb(Fault{Delay: time.Hour})
	if _, err := c.Write(bytes.Repeat([]byte("x"), 10)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("read from a closed relay")
	}
}
