// Package ports hands out TCP ports of 127.0.0.1 for processes that are started
// with a port in their settings, and which therefore can't take one by asking
// the kernel for 0.
//
// It owns the blocks of ports that this process has reserved: a listener on the
// first port of a block keeps other processes that ask here away from the rest
// for as long as this process lives, so that tests of different packages may
// run side by side. It must never hand a port out twice. Tests, the rehearsal
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

// The ports lie below those that the kernel gives to outgoing connections and
// to who listens on 0 (Linux from 32768, macOS and Windows from 49152): one that
// is closed, and opened again later, is still free then.
const (
	lowest  = 20000
	highest = 32767
	block   = 64 // the first of them is the reservation
)

var reserved struct {
	sync.Mutex
	guards    []net.Listener // open until the process ends
	next, end int            // what is left of the last block
}

// Free returns a port of 127.0.0.1 on which nobody listens and which this
// function gives to nobody else.
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

// reserve takes a block that no process has. The caller holds the lock.
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
