// Package ports hands out free TCP ports of 127.0.0.1, for processes that get
// their port as a setting and so can't let the kernel choose one.
//
// It reserves ports in blocks. A listener on the first port of a block marks the
// block as taken while this process lives, so that tests of different packages
// can run side by side. It must never hand out a port twice. Tests, the rehearsal
// and the benchmarks call it.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports lie below those that the kernel gives to outgoing connections and to
// listeners on port 0 (Linux from 32768, macOS and Windows from 49152). So a port
// that a process closes is still free when the process opens it again.
const (
	lowest  = 20000
	highest = 32767
	block   = 64 // its first port marks it as taken
)

var reserved struct {
	sync.Mutex
	guards    []net.Listener // open until the process ends
	next, end int            // what is left of the last block
}

// Free returns a port of 127.0.0.1 that has no listener. It never returns the same
// port again.
func Free() (int, error) {
	reserved.Lock()
	defer reserved.Unlock()
	for {
		for reserved.next < reserved.end {
			port := reserved.next
			reserved.next++
			if l, err := listen(port); err == nil {
				return port, l.Close()
			}
		}
		if err := reserve(); err != nil {
			return 0, err
		}
	}
}

// reserve takes a block that no other process has. The caller holds the lock.
func reserve() error {
	const blocks = (highest + 1 - lowest) / block
	begin := rand.N(blocks)
	for i := range blocks {
		port := lowest + (begin+i)%blocks*block
		if guard, err := listen(port); err == nil {
			reserved.guards = append(reserved.guards, guard)
			reserved.next, reserved.end = port+1, port+block
			return nil
		}
	}
	return errors.New("find free port: every block is taken")
}

func listen(port int) (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("try port: %w", err)
	}
	return l, nil
}
