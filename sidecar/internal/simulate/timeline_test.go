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

// about returns the lines about those webhooks and about the world, the last so
// many; all of them when everything is asked for.
func (l *timeline) about(keys map[string]bool, last int, everything bool) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, n := range l.lines {
		if everything || n.key == "" && !n.fine || keys[n.key] {
			out = append(out, fmt.Sprintf("%10.6fs  %-8s %-10s %s", n.at.Seconds(), n.who, n.key, n.text))
		}
	}
	if left := len(out) - last; left > 0 && !everything {
		out = append([]string{fmt.Sprintf("(%d lines before these)", left)}, out[left:]...)
	}
	return strings.Join(out, "\n")
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
		if a.Key != "stack" || r.Level >= slog.LevelError {
			fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		}
		return true
	})
	h.line.add(false, h.who, key, "%s", b.String())
	return nil
}

func (h *logHandler) WithAttrs(as []slog.Attr) slog.Handler { return h }
func (h *logHandler) WithGroup(string) slog.Handler         { return h }
