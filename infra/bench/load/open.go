package load

import (
	"context"
	"fmt"
	"net"
	"time"
)

const openLimit = 2 * time.Minute

// Open opens connections, posts one webhook over each, and leaves them open for
// the caller to close, also after an error.
func Open(ctx context.Context, to Target) (conns []net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	x := newExchanges(to, 0)
	buf := make([]byte, 4096)
	for range to.Connections {
		conn, err := dial(ctx, to)
		if err != nil {
			return conns, err
		}
		conns = append(conns, conn)
		if err := exchange(ctx, conn, x, buf); err != nil {
			return conns, err
		}
	}
	return conns, nil
}

func exchange(ctx context.Context, conn net.Conn, x *exchanges, buf []byte) error {
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return fmt.Errorf("limit exchange: %w", err)
	}
	if _, err := conn.Write(x.begin()); err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		if whole, err := x.receive(buf[:n]); whole || err != nil {
			return err
		}
	}
}
