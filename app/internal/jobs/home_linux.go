package jobs

import (
	"os"
	"strings"
)

// home names where process numbers are unique: this boot of this machine and, in
// a container, its PID namespace. It is empty when that cannot be read.
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
