package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// anyTime is a pace that never ends a read, for readers without deadlines.
func anyTime() *pace { return &pace{conn: noDeadline{}, end: time.Now().Add(time.Hour)} }

type noDeadline struct{}

func (noDeadline) SetReadDeadline(time.Time) error { return nil }

// take reads a body as a connection brings it.
func take(ctx context.Context, m *memory, r io.Reader, length, limit int64) (*Body, error) {
	return m.read(ctx, bufio.NewReaderSize(r, headSize), anyTime(), length, limit)
}

// whole reports whether all of the memory has been given back.
func whole(m *memory, limit int64) bool {
	if m.unfinished.Load() != 0 || !m.sem.TryAcquire(limit) {
		return false
	}
	m.sem.Release(limit)
	return true
}

func TestBodyIsReadWhole(t *testing.T) {
	const limit, most = 1 << 20, 300_000
	m := newMemory(limit)
	for _, n := range []int{0, 1, smallBody - 1, smallBody, smallBody + 1, 64 << 10, 64<<10 + 1, 256<<10 - 1, 256 << 10, most - 1, most} {
		want := bytes.Repeat([]byte{byte(n), 7}, n)[:n]
		for _, length := range []int64{int64(n), -1} {
			for name, r := range map[string]io.Reader{"": bytes.NewReader(want), "byte by byte": iotest.OneByteReader(bytes.NewReader(want)), "data with EOF": iotest.DataErrReader(bytes.NewReader(want))} {
				b, err := take(t.Context(), m, r, length, most)
				if err != nil || !bytes.Equal(b.bytes, want) {
					t.Fatalf("%d bytes, length %d %s: %v", n, length, name, err)
				}
				b.free()
				b.free() // twice does no harm
				if !whole(m, limit) {
					t.Fatalf("%d bytes, length %d %s: memory is not given back", n, length, name)
				}
			}
		}
	}
}

func TestBodyThatCannotBeTaken(t *testing.T) {
	const limit, most = 1 << 20, 300_000
	m := newMemory(limit)
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		r      io.Reader
		length int64
		want   error
	}{
		"announced too large": {nil, most + 1, ErrTooLarge},
		"one byte too many":   {strings.NewReader(strings.Repeat("x", most+1)), -1, ErrTooLarge},
		"endless":             {iotest.OneByteReader(endless{}), -1, ErrTooLarge},
		"shorter than said":   {strings.NewReader("abc"), 4, io.ErrUnexpectedEOF},
		"nothing of it":       {strings.NewReader(""), 4, io.EOF},
		"broken off":          {io.MultiReader(strings.NewReader(strings.Repeat("x", 100_000)), iotest.ErrReader(broken)), -1, broken},
		"cut between chunks":  {io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(io.ErrUnexpectedEOF)), -1, io.ErrUnexpectedEOF},
	} {
		if b, err := take(t.Context(), m, c.r, c.length, most); !errors.Is(err, c.want) {
			t.Errorf("%s: %v %v, want %v", name, b, err, c.want)
		}
		if !whole(m, limit) {
			t.Fatalf("%s: memory is not given back", name)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// However many bodies arrive, memory stays below its limit and is given back.
func TestMemoryIsBounded(t *testing.T) {
	const limit, most = 4 << 20, 1 << 20
	m := newMemory(limit)
	var mu sync.Mutex
	var now, peak int64
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 0))
			for range 8 {
				n := rng.Int64N(most)
				length := n
				if rng.IntN(2) == 0 {
					length = -1
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				b, err := take(ctx, m, io.LimitReader(endless{}, n), length, most)
				cancel()
				if err != nil {
					if !errors.Is(err, ErrNoMemory) {
						t.Error(err)
					}
					continue
				}
				mu.Lock()
				now += b.held
				peak = max(peak, now)
				mu.Unlock()
				mu.Lock()
				now -= b.held
				mu.Unlock()
				b.free()
			}
		})
	}
	all.Wait()
	if peak > limit {
		t.Errorf("%d bytes were in memory, the limit is %d", peak, limit)
	}
	if !whole(m, limit) {
		t.Error("memory is not given back")
	}
}

// A request that finds no memory is refused after a second, or when its sender leaves.
func TestNoMemory(t *testing.T) { synctest.Test(t, waitsInVain) }

func waitsInVain(t *testing.T) {
	m := newMemory(100)
	b, err := take(t.Context(), m, strings.NewReader(strings.Repeat("x", 80)), 80, 100)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := take(t.Context(), m, strings.NewReader(strings.Repeat("x", 21)), 21, 100); !errors.Is(err, ErrNoMemory) || time.Since(began) != patience {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := take(gone, m, strings.NewReader(strings.Repeat("x", 21)), 21, 100); !errors.Is(err, ErrNoMemory) {
		t.Errorf("%v for one who has left", err)
	}
	freed := make(chan struct{})
	go func() { defer close(freed); b.free() }()
	c, err := take(t.Context(), m, strings.NewReader(strings.Repeat("y", 30)), 30, 100)
	if err != nil {
		t.Fatal(err)
	}
	<-freed
	c.free()
	if !whole(m, 100) {
		t.Error("memory is not given back")
	}
}
