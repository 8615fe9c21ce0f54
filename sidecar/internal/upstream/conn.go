package upstream

import (
	"bufio"
	"fmt"
	"net"
	"syscall"
	"time"
)

// conn is one HTTP/1.1 connection to the app. The goroutine that handles a webhook
// reads and writes on it directly, so a webhook costs no switch between goroutines.
type conn struct {
	net  net.Conn
	br   *bufio.Reader
	raw  syscall.RawConn
	peek func(fd uintptr) bool // made once, so that isOpen does not allocate
	live bool

	until time.Time // the deadline of reads and writes; zero when they differ or there is none
}

// early is how much earlier than asked for a deadline may be, and never more than a
// sixteenth of the time that is left. Setting one for each webhook costs as much as
// writing its head.
const early = 100 * time.Millisecond

// limit sets the deadline of reads and writes, unless the one in force will do.
func (k *conn) limit(deadline time.Time) {
	if sooner := deadline.Sub(k.until); sooner != 0 && (sooner < 0 || sooner > min(early, time.Until(deadline)/16)) {
		k.net.SetDeadline(deadline)
		k.until = deadline
	}
}

// limitRead sets the deadline of reads.
func (k *conn) limitRead(deadline time.Time) {
	k.until = time.Time{}
	k.net.SetReadDeadline(deadline)
}

// get returns an idle connection that is still open, or a new one. Its deadline is
// set: after an old one, an open connection would look closed.
func (c *Client) get(deadline time.Time) (*conn, error) {
	for {
		c.mu.Lock()
		n := len(c.idle)
		if c.closed {
			c.mu.Unlock()
			return nil, fmt.Errorf("%w: client closed", ErrDial)
		}
		if n == 0 {
			c.mu.Unlock()
			k, err := c.open()
			if err == nil {
				k.limit(deadline)
			}
			return k, err
		}
		k := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.active[k] = struct{}{}
		c.mu.Unlock()
		if k.limit(deadline); k.isOpen() {
			return k, nil
		}
		c.drop(k)
	}
}

func (c *Client) open() (*conn, error) {
	nc, err := c.dial.Dial("tcp", c.addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDial, err)
	}
	k := &conn{net: nc, br: bufio.NewReaderSize(nc, 4096)}
	if sc, ok := nc.(syscall.Conn); ok {
		if k.raw, err = sc.SyscallConn(); err != nil {
			k.raw = nil
		}
	}
	k.peek = func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		// An idle connection has nothing to read. If it has ended, or brings bytes
		// that nobody asked for, it can't be used again.
		k.live = n < 0 && (err == syscall.EAGAIN || err == syscall.EWOULDBLOCK)
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		nc.Close()
		return nil, fmt.Errorf("%w: client closed", ErrDial)
	}
	c.active[k] = struct{}{}
	return k, nil
}

func (k *conn) isOpen() bool {
	if k.br.Buffered() > 0 {
		return false
	}
	if k.raw == nil {
		return true
	}
	k.live = false
	return k.raw.Read(k.peek) == nil && k.live
}

// put returns a connection to the idle ones. Its answer has been read to the end.
func (c *Client) put(k *conn) {
	c.mu.Lock()
	delete(c.active, k)
	if !c.closed && len(c.idle) < c.cfg.MaxIdle {
		c.idle = append(c.idle, k)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	k.net.Close()
}

func (c *Client) drop(k *conn) {
	c.mu.Lock()
	delete(c.active, k)
	c.mu.Unlock()
	k.net.Close()
}
