package actions

import "syscall"

// processAttributes puts the command into a process group of its own and has
// the kernel kill it when the app dies: a job that is run again after a crash
// must not still be running from before.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
