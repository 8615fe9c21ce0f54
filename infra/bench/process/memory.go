package process

import (
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
)

// ID is the process's id.
func (p *Process) ID() int { return p.cmd.Process.Pid }

// Memory is the resident memory of a process, in bytes.
func Memory(pid int) (int64, error) {
	out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}
	kilobytes, err := strconv.ParseInt(string(bytes.TrimSpace(out)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}
	return kilobytes << 10, nil
}
