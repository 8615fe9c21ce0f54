package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// tick is the unit of /proc/PID/stat: USER_HZ, which is 100 on every
// architecture that Go runs on.
const tick = 10 * time.Millisecond

// CPU returns the CPU time that a process and its children, running or ended,
// have used: workers of a proxy, backends of a database server.
func CPU(pid int) (time.Duration, error) {
	sum, err := used(pid, true)
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, fmt.Errorf("read list of children: %w", err)
	}
	for _, text := range bytes.Fields(list) {
		child, err := strconv.Atoi(string(text))
		if err != nil {
			return 0, fmt.Errorf("read list of children: %w", err)
		}
		// The time of one that has just ended is counted with its parent's.
		if time, err := used(child, false); err == nil {
			sum += time
		}
	}
	return sum, nil
}

// used reads utime and stime, the 14th and 15th field, and those of children
// that have ended, the two that follow. The second field, the name, may hold
// blanks; it ends with a parenthesis.
func used(pid int, children bool) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 15 {
		return 0, fmt.Errorf("short stat %q", stat)
	}
	fields = fields[11:15]
	if !children {
		fields = fields[:2]
	}
	var sum time.Duration
	for _, field := range fields {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// Parent returns the id of a process's parent.
func Parent(pid int) (int, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read process: %w", err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, fmt.Errorf("read process: short stat %q", stat)
	}
	return strconv.Atoi(string(fields[1]))
}
