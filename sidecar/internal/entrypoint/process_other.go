//go:build unix && !linux

package entrypoint

import "syscall"

// Outside Linux orphans go to the system's first process. Only development machines
// run this; containers run Linux.
func adoptOrphans() error { return nil }

func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func children() []int { return nil }
