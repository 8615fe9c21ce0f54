package settings

import (
	"fmt"
	"io"
	"log/slog"
)

const hidden = "***"

// Secret is a text that never prints: not with fmt, whatever the verb, not in
// JSON or other text formats, not with slog. Only Reveal returns it. The zero
// Secret is unset.
type Secret struct {
	text *string // behind a pointer, since fmt prints unexported fields without asking
}

// NewSecret hides a text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Decode reads the secret from its variable; envconfig calls it.
func (s *Secret) Decode(text string) error {
	*s = NewSecret(text)
	return nil
}

// Reveal returns the text, for signing, verifying or connecting with it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsSet reports whether there is a secret.
func (s Secret) IsSet() bool { return s.text != nil }

// String returns *** for a secret that is set, else nothing.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return hidden
}

// Format hides the secret from every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText hides the secret from JSON and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
