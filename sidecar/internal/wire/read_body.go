package wire

import (
	"bufio"
	"context"
	"io"
)

// read reads a whole body. length is the announced one, -1 when unknown. A body
// that fits into r's buffer is gathered there and counted only when it is whole:
// most bodies arrive with their head, and each of the others occupies a connection.
func (m *memory) read(ctx context.Context, r *bufio.Reader, p *pace, length, limit int64) (*Body, error) {
	if length > limit {
		return nil, ErrTooLarge
	}
	n, whole, err := gather(r, p, length)
	switch {
	case err != nil:
		return nil, err
	case n > limit:
		return nil, ErrTooLarge
	case !whole:
		return m.grow(ctx, r, p, length, limit)
	}
	if err := m.acquire(ctx, n); err != nil {
		return nil, err
	}
	b := m.newBody(n)
	if _, err := io.ReadFull(r, b.bytes); err != nil { // cannot fail: all of it is in r
		b.free()
		return nil, err
	}
	return b, nil
}

// gather waits until r has buffered the whole body, or as much as it can.
func gather(r *bufio.Reader, p *pace, length int64) (n int64, whole bool, err error) {
	want := int64(r.Size())
	if length >= 0 {
		want = min(want, length)
	}
	have := int64(r.Buffered())
	if have < want || want != length {
		p.begin()
	}
	for have < want {
		_, err := r.Peek(int(have) + 1)
		if now := int64(r.Buffered()); now > have {
			p.arrived(now - have)
			have = now
			continue // the next Peek returns the error again
		}
		switch {
		case err == io.EOF && length < 0:
			return have, true, nil
		case err == io.EOF && have > 0:
			return 0, false, io.ErrUnexpectedEOF
		case err != nil:
			return 0, false, err
		}
	}
	return want, want == length, nil
}
