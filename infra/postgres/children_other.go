//go:build !linux

package postgres

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"syscall"
)

// childrenOf returns the processes that have pid as their parent.
func childrenOf(pid int) ([]int, error) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var children []int
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var child, parent int
		if n, _ := fmt.Sscan(lines.Text(), &child, &parent); n == 2 && parent == pid {
			children = append(children, child)
		}
	}
	return children, nil
}

// ended reports whether a process has ended.
func ended(pid int) bool { return syscall.Kill(pid, 0) != nil }

// workingIn finds nothing on these systems.
func workingIn(string) ([]int, error) { return nil, nil }
