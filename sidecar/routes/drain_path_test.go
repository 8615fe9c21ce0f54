package routes

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

// drainSpellings are paths that one router or another takes for /drain.
var drainSpellings = []string{
	"/drain", "/drain/", "/Drain", "/DRAIN", "//drain", "///drain//", "/./drain", "/x/../drain", "/x/%2e%2e/drain", "/x/%2E./drain",
	"/%2fdrain", "/drain%2f", "/drain;a", "/drain;a=b/", "/drain%3Ba", "/drain%20", "/drain%09", "/%20drain", "/drain%0a", "/drain%00",
	"/drain%00.json", "/%64rain", "/%2564rain", "/%25%36%34rain", "/%%36%34rain", "/%2525252564rain", `/\drain`, `\drain`, "/%5cdrain", "/x%5c..%5cdrain",
	"/drain.", "/drain./", "/drain..", "/drain.json", "/drain?x", "/drain%3fx", "/drain#x", "/drain%23x",
	"/;a/drain", "/x;a/../drain", "/x/..;/drain", "/.;a/drain", "/a%2fb/../drain", "/%2e%2e%2fdrain", "drain", "/dra\u0131n", "/DRA\u0130N", "/dra%C4%B1n",
	"/hooks/..%2Fdrain", "/ /drain", "/x/.. /drain", "/%" + strings.Repeat("25", 20) + "64rain",
}

func TestIsDrain(t *testing.T) {
	for _, p := range drainSpellings {
		if !IsDrain(p) {
			t.Errorf("%q passes", p)
		}
	}
	for _, p := range []string{
		"/", "", "*", "/drains", "/drainage", "/hooks/drain", "/drain/x", "/x/drain", "/drain-cleaning", "/drai", "/brain", "/hooks/a%2Fb", "/%64rai", "/drain%", "/drain%2",
		"/drain%2fx", "/drain/../x", "/x/..", "/webhooks/github", "/caf%C3%A9", "/caf\xe9", "/100%25", "/a%2525b", "/~drain",
	} {
		if IsDrain(p) {
			t.Errorf("%q is refused", p)
		}
	}
}

// FuzzIsDrain compares IsDrain with the ways in which routers work: it finds every
// path that one of them takes for /drain, and accepts paths without those letters.
func FuzzIsDrain(f *testing.F) {
	for _, p := range drainSpellings {
		f.Add(p)
	}
	f.Add("/hooks/a%2Fb;x=1/../y")
	f.Fuzz(func(t *testing.T, p string) {
		found := IsDrain(p)
		for name, routed := range routers(p) {
			if strings.EqualFold(routed, "/drain") && !found {
				t.Errorf("%s takes %q for /drain", name, p)
			}
		}
		all := p
		for range 4 {
			all = decode(all)
		}
		if found && decode(all) == all && strings.IndexFunc(all, func(r rune) bool { return fold(r) == 'd' }) < 0 {
			t.Errorf("%q is refused", p)
		}
	})
}

// routers are the ways in which servers and frameworks read a path.
func routers(p string) map[string]string {
	once, err := url.PathUnescape(p)
	if err != nil {
		once = p
	}
	twice, err := url.PathUnescape(once)
	if err != nil {
		twice = once
	}
	cut := func(s, at string) string {
		if i := strings.Index(s, at); i >= 0 {
			return s[:i]
		}
		return s
	}
	back := func(s string) string { return strings.ReplaceAll(s, `\`, "/") }
	var tomcat []string
	for s := range strings.SplitSeq(p, "/") {
		tomcat = append(tomcat, cut(s, ";"))
	}
	return map[string]string{
		"raw":                       p,
		"lenient about a slash":     strings.TrimSuffix(p, "/"),
		"decoded":                   once,
		"decoded and cleaned":       path.Clean("/" + once),
		"cleaned, then decoded":     decode(path.Clean("/" + p)),
		"decoded twice":             path.Clean("/" + twice),
		"IIS":                       strings.TrimRight(path.Clean("/"+back(once)), ". "),
		"C strings":                 cut(once, "\x00"),
		"parameters":                cut(path.Clean("/"+once), ";"),
		"parameters, then decoded":  decode(cut(p, ";")),
		"Tomcat":                    path.Clean("/" + decode(strings.Join(tomcat, "/"))),
		"a regexp with $":           strings.TrimSuffix(once, "\n"),
		"merged slashes":            strings.ReplaceAll(once, "//", "/"),
		"fragment":                  cut(p, "#"),
		"with the format's suffix":  strings.TrimSuffix(path.Clean("/"+once), ".json"),
		"backslashes, then cleaned": path.Clean("/" + back(twice)),
	}
}
