package settings

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretsDoNotPrint(t *testing.T) {
	s := NewSecret("hunter2")
	type inside struct {
		Exported   Secret
		unexported Secret
		List       []Secret
		Pointer    *Secret
		Map        map[string]Secret
	}
	all := inside{s, s, []Secret{s}, &s, map[string]Secret{"k": s}}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%f", "%p", "%T", "%U", "%10s", "%w"} {
		fmt.Fprintf(&out, verb, s)
		fmt.Fprintf(&out, verb, &s)
		fmt.Fprintf(&out, verb, all)
		fmt.Fprintf(&out, verb, &all)
		fmt.Fprintf(&out, verb, []any{s, all})
	}
	fmt.Fprint(&out, s, all, fmt.Errorf("open %v: %w", s, fmt.Errorf("%s", s)))
	fmt.Fprintln(&out, s, all)
	for _, v := range []any{s, &s, all, map[string]any{"k": s}} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	if text, err := xml.Marshal(s); err == nil {
		out.Write(text)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil), NewLogger(&out, slog.LevelInfo, "tint").Handler()} {
		slog.New(h).Info("x", "secret", s, "pointer", &s, "all", all, slog.Group("g", "secret", s))
	}
	// As bytes in hexadecimal they would be no better hidden.
	for _, text := range []string{"hunter2", "68756e74657232", "68 75 6e"} {
		if strings.Contains(strings.ToLower(out.String()), text) {
			t.Errorf("the secret is printed: %s", out.String())
		}
	}
	if s.Reveal() != "hunter2" || !s.IsSet() || s.String() != "***" {
		t.Error("the secret is lost")
	}
	if empty := NewSecret(""); empty.IsSet() || empty.Reveal() != "" || fmt.Sprint(empty) != "" {
		t.Error("an empty secret is set")
	}
}
