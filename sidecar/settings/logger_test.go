package settings

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
)

func TestLogFormats(t *testing.T) {
	for format, isJSON := range map[string]bool{"": true, "json": true, "tint": false, "text": false} {
		var out bytes.Buffer
		log := NewLogger(&out, slog.LevelWarn, format)
		log.Info("left out")
		log.Warn("told", "n", 1)
		if json.Valid(out.Bytes()) != isJSON || bytes.Contains(out.Bytes(), []byte("left out")) || !bytes.Contains(out.Bytes(), []byte("told")) {
			t.Errorf("LOG_FORMAT=%s: %q", format, out.String())
		}
		if bytes.Contains(out.Bytes(), []byte("\x1b[")) {
			t.Errorf("LOG_FORMAT=%s: colours in %q", format, out.String())
		}
	}
}
