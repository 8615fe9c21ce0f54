package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

const (
	logEvery  = 5 * time.Second // where no terminal can overwrite its last line
	lineWidth = 110
)

// ticker shows progress: one line that is written over on a terminal, a line
// every few seconds elsewhere.
type ticker struct {
	out      io.Writer
	terminal bool

	mu   sync.Mutex
	last time.Time
}

func newTicker(out io.Writer) *ticker {
	t := &ticker{out: out}
	if file, ok := out.(*os.File); ok {
		if info, err := file.Stat(); err == nil {
			t.terminal = info.Mode()&os.ModeCharDevice != 0
		}
	}
	return t
}

// line shows how far a run has come.
func (t *ticker) line(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.terminal:
		fmt.Fprintf(t.out, "\r\x1b[K%.*s", lineWidth, s)
	case time.Since(t.last) >= logEvery:
		t.last = time.Now()
		fmt.Fprintln(t.out, s)
	}
}

// say shows a step that is not part of a run.
func (t *ticker) say(s string) {
	t.clear()
	fmt.Fprintln(t.out, s)
}

// clear removes the line of a run that is over.
func (t *ticker) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.terminal {
		fmt.Fprint(t.out, "\r\x1b[K")
	}
}
