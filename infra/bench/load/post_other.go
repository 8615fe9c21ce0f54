//go:build !linux

package load

import (
	"context"
	"fmt"
	"net"
)

// post gives each connection a goroutine.
func post(ctx context.Context, spec Spec, to Target) (*Result, error) {
	var senders []Sender
	for i := range to.Connections {
		conn, err := dial(ctx, to)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		// Read takes no context, so its end closes the connection.
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		senders = append(senders, &poster{conn: conn, exchanges: newExchanges(to, i)})
	}
	return Run(ctx, spec, senders)
}

// poster is one connection.
type poster struct {
	conn net.Conn
	*exchanges
	buf [4096]byte
}

// Send posts one webhook and reads its answer.
func (p *poster) Send(context.Context) error {
	if _, err := p.conn.Write(p.begin()); err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	for {
		n, err := p.conn.Read(p.buf[:])
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		if whole, err := p.receive(p.buf[:n]); whole || err != nil {
			return err
		}
	}
}
