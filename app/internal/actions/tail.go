package actions

import (
	"bytes"
	"log/slog"
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

// lineBytes is the longest line of output in the log; longer lines are cut.
const lineBytes = 4 << 10

// lineLog logs each line of a command's output as soon as it is written.
type lineLog struct {
	log  *slog.Logger
	line []byte
}

func (l *lineLog) Write(p []byte) (int, error) {
	for part := range bytes.Lines(p) {
		text, ended := bytes.CutSuffix(part, []byte{'\n'})
		if room := lineBytes - len(l.line); len(text) > room {
			text = text[:room]
		}
		l.line = append(l.line, text...)
		if ended {
			l.flush()
		}
	}
	return len(p), nil
}

func (l *lineLog) flush() {
	if len(l.line) == 0 {
		return
	}
	l.log.Info("Job output", "line", strings.ToValidUTF8(string(l.line), "\uFFFD"))
	l.line = l.line[:0]
}
