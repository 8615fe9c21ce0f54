package wire

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// handover is the listener from which net/http gets its connections.
type handover struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handover) take(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.done:
		return false
	}
}

func (h *handover) Close() error   { h.once.Do(func() { close(h.done) }); return nil }
func (h *handover) Addr() net.Addr { return h.addr }

// handedOver is a connection that net/http serves until it ends.
type handedOver struct {
	net.Conn
	server  *Server
	idle    // as net/http reports it
	br      *bufio.Reader
	framing framing
}

// noteIdle is called by net/http whenever a connection changes its state.
func noteIdle(c net.Conn, state http.ConnState) {
	h, ok := c.(*handedOver)
	switch {
	case !ok:
	case state == http.StateIdle:
		h.idleFrom(time.Now())
	default:
		h.busy()
	}
}

func (h *handedOver) evict() { h.Conn.Close() } // net/http then sees the read fail

func (h *handedOver) Close() error {
	h.server.forget(h)
	return h.Conn.Close()
}

// CloseWrite closes only our direction. net/http calls it before it closes a
// connection with unread bytes, so that the sender can read its answer.
func (h *handedOver) CloseWrite() error {
	if half, ok := h.Conn.(closeWriter); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (h *handedOver) Read(p []byte) (int, error) {
	n, err := h.read(p)
	h.framing.see(p[:n])
	return n, err
}

func (h *handedOver) read(p []byte) (int, error) {
	if h.br == nil {
		return h.Conn.Read(p)
	}
	if h.br.Buffered() == 0 {
		readers.Put(h.br)
		h.br = nil
		return h.Conn.Read(p)
	}
	return io.LimitReader(h.br, int64(h.br.Buffered())).Read(p)
}
