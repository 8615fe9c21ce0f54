package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// nameLimit bounds what a sender may call its delivery or event. Names go into
// an index, whose entries have a limit; the body keeps the full truth.
const nameLimit = 200

// Name makes a sender's name for something fit for a text column: valid UTF-8,
// no NUL, bounded. Different names stay different.
func Name(s string) string {
	if len(s) <= nameLimit && utf8.ValidString(s) && !strings.ContainsRune(s, 0) {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
	s = strings.ToValidUTF8(s[:min(len(s), nameLimit-2*len(sum)-1)], "")
	return s + "~" + hex.EncodeToString(sum[:])
}
