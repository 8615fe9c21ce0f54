package e2e

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// muffler is a proxy in front of PostgreSQL. While it is mute, the server gets what
// is sent, and its answers are lost: it commits, and no client learns of it.
type muffler struct {
	mute atomic.Bool

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// muffled returns a muffler and the URL that leads through it.
func muffled(t testing.TB, to string) (*muffler, string) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	target := u.Host
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &muffler{conns: map[net.Conn]struct{}{}}
	t.Cleanup(func() { ln.Close(); m.cut() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go m.serve(c, target)
		}
	}()
	u.Host = ln.Addr().String()
	return m, u.String()
}

func (m *muffler) serve(client net.Conn, target string) {
	defer client.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	m.mu.Lock()
	m.conns[client] = struct{}{}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.conns, client)
		m.mu.Unlock()
	}()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		if m.mute.Load() {
			continue
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// speak lets answers through again. It closes the connections that missed some.
func (m *muffler) speak() {
	m.mute.Store(false)
	m.cut()
}

func (m *muffler) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.conns {
		c.Close()
	}
}
