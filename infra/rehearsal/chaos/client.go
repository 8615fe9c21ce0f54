package chaos

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// answer is what a sender needs from a response.
type answer struct {
	status               int
	held                 bool
	sluiceID, retryAfter string
}

// client posts to replicas and reuses its connections. It costs far less than
// net/http's client and never repeats a request by itself.
type client struct {
	mu     sync.Mutex
	idle   map[string][]*conn // by address, the last one used at the end
	closed bool
}

type conn struct {
	net net.Conn
	raw syscall.RawConn
	br  *bufio.Reader
}

// post sends one request and waits for its answer until the deadline.
func (c *client) post(addr string, q request, deadline time.Time) (answer, error) {
	k, err := c.get(addr, deadline)
	if err != nil {
		return answer{}, err
	}
	k.net.SetDeadline(deadline)
	bufs := net.Buffers{q.head, q.body}
	_, writeErr := bufs.WriteTo(k.net)
	// A refusal may come before the whole body is sent: read it after a write error.
	a, reusable, err := k.read()
	if err != nil {
		k.net.Close()
		if writeErr != nil {
			return answer{}, fmt.Errorf("send request: %w", writeErr)
		}
		return answer{}, fmt.Errorf("read answer: %w", err)
	}
	if writeErr != nil || !reusable {
		k.net.Close()
		return a, nil
	}
	c.put(addr, k)
	return a, nil
}

func (k *conn) read() (a answer, reusable bool, err error) {
	resp, err := http.ReadResponse(k.br, nil)
	if err != nil {
		return a, false, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return a, false, err
	}
	return answer{
		status: resp.StatusCode, held: resp.Header.Get("Sluice-Status") == "held",
		sluiceID: resp.Header.Get("Sluice-Id"), retryAfter: resp.Header.Get("Retry-After"),
	}, !resp.Close && k.br.Buffered() == 0, nil
}

func (c *client) get(addr string, deadline time.Time) (*conn, error) {
	for {
		c.mu.Lock()
		list := c.idle[addr]
		if len(list) == 0 {
			c.mu.Unlock()
			break
		}
		k := list[len(list)-1]
		c.idle[addr] = list[:len(list)-1]
		c.mu.Unlock()
		if k.open() {
			return k, nil
		}
		k.net.Close()
	}
	nc, err := net.DialTimeout("tcp", addr, time.Until(deadline))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &conn{nc, raw, bufio.NewReader(nc)}, nil
}

// open reports whether an idle connection can be used: it holds no unread byte and
// is not closed.
func (k *conn) open() bool {
	live := false
	k.net.SetDeadline(time.Time{})
	err := k.raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		live = n < 0 && (err == syscall.EAGAIN || err == syscall.EWOULDBLOCK)
		return true
	})
	return err == nil && live
}

func (c *client) put(addr string, k *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		k.net.Close()
		return
	}
	c.idle[addr] = append(c.idle[addr], k)
}

// forget closes the idle connections to the address of a stopped replica.
func (c *client) forget(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.idle[addr] {
		k.net.Close()
	}
	delete(c.idle, addr)
}

// forgetAll closes every idle connection.
func (c *client) forgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
}

func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.drop()
}

func (c *client) drop() {
	for addr, list := range c.idle {
		for _, k := range list {
			k.net.Close()
		}
		delete(c.idle, addr)
	}
}
