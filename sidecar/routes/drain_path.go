package routes

import (
	"path"
	"strings"
	"unicode"
)

const drainName = "drain"

// maxEncodings is how often a path may be percent-encoded on top of itself. No
// honest sender encodes one more often.
const maxEncodings = 8

// IsDrain reports whether an app might take a path for /drain, which only the
// sidecar may request. The path is that of the request target, not decoded. Apps
// decode, clean and compare paths in many ways, so IsDrain covers every way that
// routers are known to use: repeated encodings, backslashes, parameters after a
// semicolon, dot segments before and after decoding, any case, an extension.
func IsDrain(target string) bool {
	// Only the copy escapes, so the usual call does not allocate.
	return !plainlyNot(target) && atAnyStage(strings.Clone(target))
}

// atAnyStage checks a path undecoded, decoded once, twice and so on.
func atAnyStage(target string) bool {
	for range maxEncodings {
		if namesDrain(target) {
			return true
		}
		decoded := decode(target)
		if decoded == target {
			return false
		}
		target = decoded
	}
	return true
}

// plainlyNot quickly rules out nearly all paths: nothing in them is encoded and
// they do not contain the word.
func plainlyNot(target string) bool {
	for i := range len(target) {
		switch c := target[i]; {
		case c == '%' || c >= 0x80:
			return false
		case (c == 'd' || c == 'D') && len(target)-i >= len(drainName) && strings.EqualFold(target[i:i+len(drainName)], drainName):
			return false
		}
	}
	return true
}

// namesDrain checks one stage of decoding. Routers cut parameters off the whole
// path or off each of its segments.
func namesDrain(target string) bool {
	target = strings.ReplaceAll(target, `\`, "/")
	segments := strings.Split(target, "/")
	for i, s := range segments {
		segments[i] = strings.TrimSpace(cutParameters(s))
	}
	return isDrainPath(cutParameters(target)) || isDrainPath(strings.Join(segments, "/"))
}

// cutParameters cuts at what ends a path for one app or another.
func cutParameters(s string) string {
	if i := strings.IndexAny(s, ";?#\x00"); i >= 0 {
		return s[:i]
	}
	return s
}

func isDrainPath(p string) bool {
	name := strings.TrimFunc(path.Clean("/"+p), func(r rune) bool {
		return r == '/' || r == '.' || unicode.IsSpace(r) || unicode.IsControl(r)
	})
	name, _, _ = strings.Cut(name, ".") // Rails and Spring route /drain.json to /drain
	return strings.Map(fold, name) == drainName
}

// fold maps letters that some app treats as equal to one letter: Java's
// equalsIgnoreCase also compares upper cases, where a dotless i is an I.
func fold(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }

// decode decodes every percent-encoding once and keeps everything else.
func decode(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			high, low := digit(s[i+1]), digit(s[i+2])
			if high >= 0 && low >= 0 {
				out = append(out, byte(high<<4|low))
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

func digit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
