package actions

import (
	"bytes"
	"log/slog"
	"strings"
)

// lineBytes is the longest line of output in the log; longer lines are cut.
const lineBytes = 4 << 10

// lineLog logs each line of a command's output as soon as it is written.
type lineLog struct {
	log    *slog.Logger
	masked *strings.Replacer
	line   []byte
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
	l.log.Info("Job output", "line", l.masked.Replace(strings.ToValidUTF8(string(l.line), "\uFFFD")))
	l.line = l.line[:0]
}
