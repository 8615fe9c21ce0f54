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

// CPU returns the CPU time that the process and its children (workers of a
// server that has some) have used, as ps tells it.
func (p *Process) CPU() (time.Duration, error) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,time=").Output()
	if err != nil {
		return 0, fmt.Errorf("read CPU time of %s: %w", p.name, err)
	}
	own := strconv.Itoa(p.cmd.Process.Pid)
	var sum time.Duration
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != own && fields[1] != own {
			continue
		}
		used, err := clock(fields[2])
		if err != nil {
			return 0, fmt.Errorf("read CPU time of %s: %w", p.name, err)
		}
		sum += used
	}
	return sum, nil
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
