package wire

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// incoming is a connection whose body the test sends as it likes.
type incoming struct {
	net.Conn
	taken chan error
	body  *Body
}

// announce begins a body on a new connection.
func announce(t *testing.T, m *memory, length, limit, rate int64) *incoming {
	t.Helper()
	sender, receiver := net.Pipe()
	t.Cleanup(func() { sender.Close(); receiver.Close() })
	in := &incoming{Conn: sender, taken: make(chan error, 1)}
	p := &pace{conn: receiver, rate: rate, end: time.Now().Add(time.Minute)}
	go func() {
		var err error
		in.body, err = m.read(t.Context(), bufio.NewReaderSize(receiver, headSize), p, length, limit)
		in.taken <- err
	}()
	return in
}

// send sends bytes and reports whether the receiver has read them all.
func (in *incoming) send(t *testing.T, n int) {
	t.Helper()
	if _, err := io.Copy(in, io.LimitReader(endless{}, int64(n))); err != nil {
		t.Fatalf("send: %v", err)
	}
}

// An announced length takes no memory, however large it is.
func TestAnnouncedBytesDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, most = 64 << 20, 25 << 20
		m := newMemory(limit)
		for range 10 {
			announce(t, m, most, most, 0)
			announce(t, m, most, most, 0).send(t, headSize)
			announce(t, m, -1, most, 0).send(t, headSize-1)
		}
		synctest.Wait()
		if n := m.unfinished.Load(); n > 10*pieceSize {
			t.Errorf("%d bytes count for 30 bodies of which hardly anything has come", n)
		}
		for _, length := range []int64{most, -1} {
			b, err := take(t.Context(), m, io.LimitReader(endless{}, most), length, most)
			if err != nil {
				t.Fatalf("one more, length %d: %v", length, err)
			}
			b.free()
		}
	})
}

// Unfinished bodies take at most half of the memory. One that needs more is refused
// at once, whole ones still find room, and all memory is given back.
func TestUnfinishedBodiesTakeHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, most = 4 << 20, 2 << 20
		m := newMemory(limit)
		var stuck []*incoming
		for range 2 {
			in := announce(t, m, -1, most, 0)
			in.send(t, 1<<20-1)
			stuck = append(stuck, in)
		}
		synctest.Wait()
		if n := m.unfinished.Load(); n != m.half {
			t.Fatalf("%d bytes of unfinished bodies, want %d", n, m.half)
		}
		began := time.Now()
		go stuck[0].Write(make([]byte, pieceSize)) // the end of its last piece, and then it wants another
		if err := <-stuck[0].taken; !errors.Is(err, ErrNoMemory) || time.Since(began) != 0 {
			t.Errorf("one that grows: %v after %v", err, time.Since(began))
		}
		again := announce(t, m, -1, most, 0)
		again.send(t, 1<<20-1)
		late := announce(t, m, pieceSize, most, 0)
		go late.Write(make([]byte, headSize+1))
		began = time.Now()
		if err := <-late.taken; !errors.Is(err, ErrNoMemory) || time.Since(began) < patience || time.Since(began) > 2*patience {
			t.Errorf("one that begins: %v after %v", err, time.Since(began))
		}
		for i := range 2 << 20 / headSize {
			b, err := take(t.Context(), m, strings.NewReader(strings.Repeat("x", headSize)), headSize, most)
			if err != nil {
				t.Fatalf("whole body %d: %v", i, err)
			}
			defer b.free()
		}
		for _, in := range []*incoming{stuck[1], again} {
			in.Close()
			if err := <-in.taken; err != nil && !errors.Is(err, ErrNoMemory) { // of unknown length: that was its end
				t.Error(err)
			}
			if in.body != nil {
				in.body.free()
			}
		}
		if n := m.unfinished.Load(); n != 0 {
			t.Errorf("%d bytes are left counted as unfinished", n)
		}
	})
}

// The largest body finds room in twice its size, however it arrives. Neither it nor
// one that breaks off at any point leaves memory counted.
func TestLargestBodyFindsRoom(t *testing.T) {
	for _, most := range []int64{1, 10, headSize, headSize + 1, pieceSize - 1, pieceSize, pieceSize + 1, 100_000, 2*pieceSize + 1, 1 << 20, 1<<20 + 1} {
		m := newMemory(2 * most)
		for _, length := range []int64{most, -1} {
			b, err := take(t.Context(), m, io.LimitReader(endless{}, most), length, most)
			if err != nil {
				t.Fatalf("%d bytes, length %d: %v", most, length, err)
			}
			if n := int64(len(b.bytes)); n != most || b.held != most || m.unfinished.Load() != 0 {
				t.Errorf("%d bytes, length %d: has %d, holds %d, %d unfinished", most, length, n, b.held, m.unfinished.Load())
			}
			b.free()
			if !whole(m, 2*most) {
				t.Fatalf("%d bytes, length %d: memory is not given back", most, length)
			}
		}
		for cut := int64(0); cut < most; cut += max(1, most/17) {
			if _, err := take(t.Context(), m, io.LimitReader(endless{}, cut), most, most); err != io.EOF && err != io.ErrUnexpectedEOF {
				t.Errorf("%d of %d bytes: %v", cut, most, err)
			}
			if !whole(m, 2*most) {
				t.Fatalf("%d of %d bytes: memory is not given back", cut, most)
			}
		}
		if _, err := take(t.Context(), m, io.LimitReader(endless{}, most+1), -1, most); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d bytes: one more is %v", most, err)
		}
	}
}
