package wire

import (
	"bufio"
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sluice/sidecar/internal/request"
)

const plain = "POST /hooks/a?b=%20c HTTP/1.1\r\nHost: example.test\r\nX-A: 1\r\nContent-Length: 3\r\nx-a:  caf\xe9 \r\nX-Forwarded-For: 1.2.3.4\r\nSluice-Verified: github\r\n\r\n"

func TestParseTakesOnlyThePlain(t *testing.T) {
	h := paths{"/hooks/a", "/webhooks/github"}
	q, ok := parse([]byte(plain), "9.9.9.9", h, 1000)
	if !ok {
		t.Fatal("a plain webhook was not taken")
	}
	want := "POST /hooks/a?b=%20c HTTP/1.1\r\nHost: example.test\r\nX-A: 1\r\nx-a:  caf\xe9 \r\n" +
		"X-Forwarded-For: 1.2.3.4, 9.9.9.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: example.test\r\n"
	if string(q.head) != want || q.length != 3 {
		t.Errorf("head\n%q, want\n%q; length %d", q.head, want, q.length)
	}
	for name, swap := range map[string][2]string{
		"GET":                   {"POST", "GET"},
		"HTTP/1.0":              {"HTTP/1.1", "HTTP/1.0"},
		"no route":              {"/hooks/a", "/other"},
		"escaped path":          {"/hooks/a", "/hooks/%61"},
		"absolute form":         {"POST /", "POST http://x/"},
		"no host":               {"Host", "Hast"},
		"two hosts":             {"X-A: 1", "Host: b"},
		"no length":             {"Content-Length: 3\r\n", ""},
		"two lengths":           {"X-A: 1", "Content-Length: 3"},
		"signed length":         {"Length: 3", "Length: +3"},
		"list of lengths":       {"Length: 3", "Length: 3, 3"},
		"too long":              {"Length: 3", "Length: 1001"},
		"chunked":               {"X-A: 1", "Transfer-Encoding: chunked"},
		"expect":                {"X-A: 1", "Expect: 100-continue"},
		"upgrade":               {"X-A: 1", "Upgrade: h2c"},
		"named by connection":   {"X-A: 1", "Connection: x-a"},
		"folded":                {"X-A: 1", "X-A: 1\r\n 2"},
		"bare LF":               {"X-A: 1", "X-A: 1\nX-B: 2"},
		"bare CR":               {"X-A: 1", "X-A: 1\r2"},
		"NUL":                   {"X-A: 1", "X-A: \x00"},
		"space before colon":    {"X-A: 1", "X-A : 1"},
		"no colon":              {"X-A: 1", "X-A"},
		"empty name":            {"X-A: 1", ": 1"},
		"two spaces in request": {"POST /", "POST  /"},
	} {
		if _, ok := parse([]byte(strings.Replace(plain, swap[0], swap[1], 1)), "", h, 1000); ok {
			t.Errorf("%s: taken, net/http must read it", name)
		}
	}
}

// FuzzParse checks that net/http reads whatever this parser takes in the same way:
// the same target, host, length and values of every field.
func FuzzParse(f *testing.F) {
	f.Add([]byte(plain))
	f.Add([]byte("POST /webhooks/github HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	h := paths{"/hooks/a", "/webhooks/github"}
	f.Fuzz(func(t *testing.T, raw []byte) {
		end := bytes.Index(raw, []byte("\r\n\r\n"))
		if end < 0 {
			return
		}
		raw = raw[:end+4]
		q, ok := parse(raw, "", h, 1000)
		if !ok {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			t.Fatalf("net/http refuses what was taken: %v\n%q", err, raw)
		}
		if err := q.head.Check(); err != nil {
			t.Fatalf("the head can't be sent on: %v\n%q", err, q.head)
		}
		if r.Method != "POST" || r.RequestURI != q.head.URI() || r.Host != q.head.Get("Host") || r.ContentLength != q.length || r.Close != q.close {
			t.Fatalf("net/http reads %s %q host %q length %d close %t, the loop %q length %d close %t\n%q",
				r.Method, r.RequestURI, r.Host, r.ContentLength, r.Close, q.head, q.length, q.close, raw)
		}
		if got := ReceivedPath(r); h.Match("POST", r.URL.Path, got) == nil || got != r.URL.Path {
			t.Fatalf("net/http sends %q elsewhere (%q)", r.URL.Path, got)
		}
		sameFields(t, r, q.head)
	})
}

func sameFields(t *testing.T, r *http.Request, head request.Head) {
	t.Helper()
	for name, values := range r.Header {
		if request.Stripped(name) || strings.HasPrefix(name, "X-Forwarded-") {
			continue
		}
		if got := head.Values(name); !slices.Equal(got, values) {
			t.Fatalf("%s: net/http has %q, the loop %q", name, values, got)
		}
	}
}
