// Package logging builds the program's logger: tint on a terminal, JSON
// anywhere else. It owns the choice of handler and nothing else; it must never
// set a global logger. The cli package calls it.
package logging

import (
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
)

// New returns a logger to w. format is "json", "text" or "" (by w).
func New(w io.Writer, level slog.Level, format string) *slog.Logger {
	if format == "" {
		format = "json"
		if terminal(w) {
			format = "text"
		}
	}
	if format == "text" {
		return slog.New(tint.NewTextHandler(w, &tint.Options{
			Level: level, TimeFormat: time.TimeOnly + ".000", NoColor: !terminal(w),
		}))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
