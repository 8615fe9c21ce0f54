package postgres

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// childrenOf returns the processes that have pid as their parent.
func childrenOf(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var children []int
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		if f := fields(stat); len(f) < 2 || f[1] != strconv.Itoa(pid) {
			continue
		}
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return nil, fmt.Errorf("read process id: %w", err)
		}
		children = append(children, child)
	}
	return children, nil
}

// workingIn returns the processes whose working directory is dir.
func workingIn(dir string) ([]int, error) {
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var found []int
	for _, link := range links {
		if at, err := os.Readlink(link); err != nil || at != dir {
			continue // it has ended, or works elsewhere
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if err != nil {
			return nil, fmt.Errorf("read process id: %w", err)
		}
		if !ended(pid) {
			found = append(found, pid)
		}
	}
	return found, nil
}

// fields returns the fields of a stat file after the process's name: state, parent
// and so on. The name may contain any character.
func fields(stat []byte) []string {
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

// ended reports whether a process has ended. A zombie, which its parent has not yet
// waited for, counts as ended.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	f := fields(stat)
	return err != nil || len(f) == 0 || f[0] == "Z" || f[0] == "X"
}
