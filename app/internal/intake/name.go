package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// nameLimit is the longest name of a delivery or event, in bytes. Names go into an
// index, whose entries have a limit; the body still has the full name.
const nameLimit = 200

// Name makes a name from a sender fit for a text column: valid UTF-8, no NUL, at
// most nameLimit bytes. Different names stay different.
func Name(s string) string {
	if len(s) <= nameLimit && utf8.ValidString(s) && !strings.ContainsRune(s, 0) {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
	s = strings.ToValidUTF8(s[:min(len(s), nameLimit-2*len(sum)-1)], "")
	return s + "~" + hex.EncodeToString(sum[:])
}
