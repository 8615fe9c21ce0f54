package replay

import (
	"syscall"
	"time"
	"unsafe"
)

// Clocks of clock_gettime(2). The first, by which Go measures, stands still while
// the machine sleeps; the second does not.
const (
	clockMonotonic = 1
	clockBoottime  = 7
)

// slept returns for how long the machine has slept since it was started. It can't
// know of a pause that its hypervisor made without telling it.
func slept() time.Duration {
	return readClock(clockBoottime) - readClock(clockMonotonic)
}

func readClock(id uintptr) time.Duration {
	var ts syscall.Timespec
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		return 0
	}
	return time.Duration(ts.Nano())
}
