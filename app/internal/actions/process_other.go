//go:build unix && !linux

package actions

import "syscall"

// processAttributes puts the command into a process group of its own.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
