package wire

import (
	"bufio"
	"context"
	"io"
	"sync"
)

const pieceSize = 64 << 10

var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// growingBody is a body that did not arrive together with its head. It is read in
// pieces, each counted before it is filled. Once half of the announced length has
// arrived, memory for the whole is taken and the pieces are copied into it. A body
// of unknown length is copied when it has ended.
type growingBody struct {
	memory     *memory
	pieces     []*[pieceSize]byte
	n          int64 // bytes in the pieces
	held       int64 // bytes counted for the pieces
	unfinished int64 // bytes counted as unfinished
}

// grow reads a body that is not whole yet.
func (m *memory) grow(ctx context.Context, r *bufio.Reader, p *pace, length, limit int64) (*Body, error) {
	g := &growingBody{memory: m}
	defer g.free()
	if length < 0 {
		return g.untilEnd(ctx, r, p, limit)
	}
	b, n, err := g.half(ctx, r, p, length)
	if err != nil {
		return nil, err
	}
	if err := fillWhole(r, b.bytes[n:], p); err != nil {
		b.free()
		return nil, err
	}
	return b, nil
}

// half reads the first n bytes, at least half of the body, and returns a body of
// full length that starts with them. A body no longer than one piece gets its
// full length at once.
func (g *growingBody) half(ctx context.Context, r *bufio.Reader, p *pace, length int64) (b *Body, n int64, err error) {
	if length <= pieceSize {
		if err := g.memory.admit(ctx, length); err != nil {
			return nil, 0, err
		}
		g.unfinished = length
		return g.memory.newBody(length), 0, nil
	}
	for 2*g.n < length {
		ended, err := g.next(ctx, r, p, length)
		if err == nil && ended && g.n < length {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, 0, err
		}
	}
	if !g.memory.extend(length, g.held) {
		return nil, 0, ErrNoMemory
	}
	g.unfinished += length - g.held
	n = g.n
	return g.move(g.memory.newBody(length)), n, nil
}

// untilEnd reads a body of unknown length.
func (g *growingBody) untilEnd(ctx context.Context, r *bufio.Reader, p *pace, limit int64) (*Body, error) {
	for ended := false; !ended; {
		var err error
		if g.n == limit { // any further byte is too many
			_, err = r.Peek(1)
			if err == nil {
				return nil, ErrTooLarge
			}
			ended = err == io.EOF
		} else {
			ended, err = g.next(ctx, r, p, limit)
		}
		if err != nil && !ended {
			return nil, err
		}
	}
	if err := g.memory.acquire(ctx, g.n); err != nil {
		return nil, err
	}
	return g.move(g.memory.newBody(g.n)), nil
}

// next reads the next piece of a body of at most end bytes.
func (g *growingBody) next(ctx context.Context, r *bufio.Reader, p *pace, end int64) (ended bool, err error) {
	size := min(pieceSize, end-g.n)
	if g.n == 0 {
		err = g.memory.admit(ctx, size)
	} else if !g.memory.extend(size, 0) {
		err = ErrNoMemory
	}
	if err != nil {
		return false, err
	}
	g.held += size
	g.unfinished += size
	piece := pieces.Get().(*[pieceSize]byte)
	g.pieces = append(g.pieces, piece)
	got, ended, err := fill(r, piece[:size], p)
	g.n += int64(got)
	return ended, err
}

// move copies the pieces into b and gives their memory back.
func (g *growingBody) move(b *Body) *Body {
	left := b.bytes[:g.n]
	for _, piece := range g.pieces {
		left = left[copy(left, piece[:]):]
	}
	g.drop()
	return b
}

func (g *growingBody) drop() {
	for _, piece := range g.pieces {
		pieces.Put(piece)
	}
	g.memory.sem.Release(g.held)
	g.pieces, g.held, g.n = nil, 0, 0
}

// free gives back what did not become a Body.
func (g *growingBody) free() {
	g.drop()
	g.memory.unfinished.Add(-g.unfinished)
	g.unfinished = 0
}

// fill reads until p is full or r ends. Only io.EOF is the end of a body;
// io.ReadFull would hide that a body was cut short.
func fill(r *bufio.Reader, p []byte, at *pace) (n int, ended bool, err error) {
	for n < len(p) {
		got, err := r.Read(p[n:])
		n += got
		at.arrived(int64(got))
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// fillWhole fills p, and fails when r ends first.
func fillWhole(r *bufio.Reader, p []byte, at *pace) error {
	n, _, err := fill(r, p, at)
	if err == nil && n < len(p) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
