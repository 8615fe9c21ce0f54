package actions

import "syscall"

// processAttributes puts the command into a process group of its own, and the
// kernel kills it when the app dies: a job that runs again after a crash must not
// still run from before.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
