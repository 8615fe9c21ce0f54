package ports

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv("SLUICE_PORTS_CHILD") != "" {
		child()
	}
	os.Exit(m.Run())
}

const each = 200 // more than a block

// child prints ports and lives until its input ends.
func child() {
	for range each {
		port, err := Free()
		fmt.Println(port, err)
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

// No port is handed out twice, to several goroutines and several processes that
// ask at the same time.
func TestNoPortComesTwice(t *testing.T) {
	var mu sync.Mutex
	seen := map[int]string{}
	note := func(who string, port int) {
		mu.Lock()
		defer mu.Unlock()
		if other, ok := seen[port]; ok {
			t.Errorf("port %d went to %s and to %s", port, other, who)
		}
		if port < lowest || port > highest {
			t.Errorf("port %d is out of range", port)
		}
		seen[port] = who
	}
	var all sync.WaitGroup
	for i := range 4 {
		name := fmt.Sprint("process ", i)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "SLUICE_PORTS_CHILD=1", "GORACE=atexit_sleep_ms=0")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { // at the end only: its ports stay reserved while it lives
			_ = in.Close()
			_ = cmd.Wait()
		})
		all.Go(func() {
			lines := bufio.NewScanner(out)
			for range each {
				var port int
				if !lines.Scan() {
					t.Errorf("%s ended", name)
					return
				}
				if _, err := fmt.Sscan(lines.Text(), &port); err != nil || port == 0 {
					t.Errorf("%s: %q", name, lines.Text())
				}
				note(name, port)
			}
		})
		all.Go(func() {
			for range each / 4 {
				port, err := Free()
				if err != nil {
					t.Error(err)
				}
				note("the test", port)
			}
		})
	}
	all.Wait()
}
