package wire

import (
	"bufio"
	"context"
	"io"
)

// read takes a body whole. length is the announced one, -1 when unknown. What
// fits into r waits there and counts once it is whole: most bodies come with
// their head, and the others have cost their sender as much as a connection.
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
	b := m.room(n)
	if _, err := io.ReadFull(r, b.bytes); err != nil { // never: all of it is in r
		b.free()
		return nil, err
	}
	return b, nil
}

// gather waits until r has all of the body, or as much as it can hold.
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
			continue // an error comes again
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
