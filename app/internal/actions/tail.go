package actions

import (
	"strings"
	"sync"
)

// tailBytes is how much output is stored with a job.
const tailBytes = 16 << 10

// tail keeps the last tailBytes written to it.
type tail struct {
	mu    sync.Mutex
	buf   []byte
	total int64
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	t.total += int64(n)
	if n > tailBytes {
		p = p[n-tailBytes:]
	}
	t.buf = append(t.buf, p...)
	if extra := len(t.buf) - tailBytes; extra > 0 {
		t.buf = append(t.buf[:0], t.buf[extra:]...)
	}
	return n, nil
}

// text returns the tail as text that PostgreSQL's jsonb accepts: valid UTF-8
// without NUL.
func (t *tail) text() (s string, truncated bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s = strings.ReplaceAll(strings.ToValidUTF8(string(t.buf), "\uFFFD"), "\x00", "\uFFFD")
	return s, t.total > int64(len(t.buf))
}
