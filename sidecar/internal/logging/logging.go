// Package logging makes the one logger of a process. It alone knows tint.
// cmd calls it; everyone else is handed a *slog.Logger.
package logging

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
)

// New returns a logger that writes to f. format is "tint" (for people), "json"
// or "" (tint when f is a terminal); level is a slog level's name.
func New(f *os.File, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: want debug, info, warn or error", level)
	}
	terminal := isTerminal(f)
	switch {
	case format == "json", format == "" && !terminal:
		return slog.New(slog.NewJSONHandler(f, &slog.HandlerOptions{Level: l})), nil
	case format == "tint", format == "":
		return slog.New(tint.NewTextHandler(f, &tint.Options{
			Level: l, TimeFormat: time.TimeOnly + ".000", NoColor: !terminal || os.Getenv("NO_COLOR") != "",
		})), nil
	}
	return nil, fmt.Errorf("log format %q: want tint or json", format)
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
