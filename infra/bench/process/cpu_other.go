//go:build !linux

package process

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func dieWithParent(*syscall.SysProcAttr) {}

// CPU returns the CPU time that a process and its running children have used, as
// ps tells it: workers of a proxy, backends of a database server.
func CPU(pid int) (sum time.Duration, err error) {
	err = list(func(id, parent int, used string) error {
		if id != pid && parent != pid {
			return nil
		}
		time, err := clock(used)
		sum += time
		return err
	})
	return sum, err
}

// Parent returns the id of a process's parent.
func Parent(pid int) (found int, err error) {
	err = list(func(id, parent int, _ string) error {
		if id == pid {
			found = parent
		}
		return nil
	})
	return found, err
}

func list(each func(id, parent int, used string) error) error {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,time=").Output()
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		var id, parent int
		var used string
		if _, err := fmt.Sscan(line, &id, &parent, &used); err != nil {
			return fmt.Errorf("read list of processes: %w", err)
		}
		if err := each(id, parent, used); err != nil {
			return fmt.Errorf("read list of processes: %w", err)
		}
	}
	return nil
}

// clock reads [[hours:]minutes:]seconds[.hundredths].
func clock(text string) (time.Duration, error) {
	var seconds float64
	for _, part := range strings.Split(text, ":") {
		n, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return 0, err
		}
		seconds = seconds*60 + n
	}
	return time.Duration(seconds * float64(time.Second)), nil
}
