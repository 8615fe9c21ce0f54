package jobs

import (
	"os"
	"strings"
)

// home names the set of processes that a process number is unique in: this
// boot of this machine and, in containers, the namespace. It is empty when that
// cannot be told.
func home() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + " " + space
}
