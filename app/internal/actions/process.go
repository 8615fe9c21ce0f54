package actions

import (
	"errors"
	"syscall"
	"time"
)

// terminateGroup asks the process group to end.
func terminateGroup(pgid int) error {
	return syscall.Kill(-pgid, syscall.SIGTERM)
}

// endGroup kills what is left of the group. After a cancellation the processes
// first have until killDelay after it to end by themselves. After a normal end of
// the command the job is over, so they are killed at once.
func endGroup(pgid int, cancelled time.Time) {
	if !cancelled.IsZero() {
		poll := time.NewTicker(10 * time.Millisecond)
		defer poll.Stop()
		for groupAlive(pgid) && time.Since(cancelled) < killDelay {
			<-poll.C
		}
	}
	_ = syscall.Kill(-pgid, syscall.SIGKILL)
}

func groupAlive(pgid int) bool {
	return !errors.Is(syscall.Kill(-pgid, 0), syscall.ESRCH)
}
