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

// endGroup leaves nothing of the group alive. After a cancellation what is
// left has until killDelay after it to end by itself; after a normal end the
// job is over when its command is, so what is left is killed at once.
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
