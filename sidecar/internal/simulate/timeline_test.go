package simulate

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// timeline is what happened, for a person to read.
type timeline struct {
	began time.Time
	mu    sync.Mutex
	lines []line
}

type line struct {
	at   time.Duration
	who  string
	key  string // of the webhook that it is about, "" for none
	text string
	fine bool // left out unless everything is asked for
}

func (l *timeline) add(fine bool, who, key, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line{time.Since(l.began), who, key, text, fine})
}

// note is a line about the world, tell one about a webhook.
func (l *timeline) note(who, format string, args ...any) { l.add(false, who, "", format, args...) }
func (l *timeline) tell(who, key, format string, args ...any) {
	l.add(false, who, key, format, args...)
}

// near is how long before and after a line about a webhook the world's lines
// are shown.
const near = 500 * time.Millisecond

// about returns the lines about those webhooks and what happened in the world
// around them, at most so many lines; all of them when everything is asked for.
func (l *timeline) about(keys map[string]bool, most int, everything bool) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	skipped := 0
	for i, n := range l.lines {
		if !everything && !keys[n.key] && (n.key != "" || n.fine || !l.isNear(i, keys)) {
			skipped++
			continue
		}
		if skipped > 0 && !everything {
			out = append(out, fmt.Sprintf("%12s(%d lines)", "", skipped))
		}
		skipped = 0
		out = append(out, fmt.Sprintf("%10.6fs  %-8s %-10s %s", n.at.Seconds(), n.who, n.key, n.text))
	}
	if left := len(out) - most; left > 0 && !everything {
		out = append(append(out[:most/4:most/4], fmt.Sprintf("%12s(%d lines more)", "", left)), out[most/4+left:]...)
	}
	return strings.Join(out, "\n")
}

// isNear reports whether a line about one of the webhooks is near the i-th.
func (l *timeline) isNear(i int, keys map[string]bool) bool {
	at := l.lines[i].at
	for j := i - 1; j >= 0 && at-l.lines[j].at <= near; j-- {
		if keys[l.lines[j].key] {
			return true
		}
	}
	for j := i + 1; j < len(l.lines) && l.lines[j].at-at <= near; j++ {
		if keys[l.lines[j].key] {
			return true
		}
	}
	return false
}

// logHandler writes a replica's log into the timeline.
type logHandler struct {
	line *timeline
	who  string
	mute func() bool // the replica is dead and only does not know
	with []slog.Attr
}

func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo && !h.mute()
}

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q", r.Level, r.Message)
	key := ""
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "delivery_id" {
			key = a.Value.String()
		}
		if a.Key != "at" {
			fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		}
		return true
	})
	h.line.add(false, h.who, key, "%s", b.String())
	return nil
}

func (h *logHandler) WithAttrs(as []slog.Attr) slog.Handler { return h }
func (h *logHandler) WithGroup(string) slog.Handler         { return h }
