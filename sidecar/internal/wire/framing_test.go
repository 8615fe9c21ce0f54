package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/textproto"
	"testing"
)

func TestFramedTwice(t *testing.T) {
	const post = "POST /hooks/a HTTP/1.1\r\nHost: h\r\n"
	for head, want := range map[string]bool{
		post + "Content-Length: 3\r\n\r\n":                                                 false,
		post + "Transfer-Encoding: chunked\r\n\r\n":                                        false,
		post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n":                   true,
		post + "transfer-encoding:chunked\r\nX: y\r\nCONTENT-LENGTH:3\r\n\r\n":             true,
		post + "Content-Length: 3\r\nTransfer-Encoding:\r\n\r\n":                           true,
		post + "Content-Length: 3\nTransfer-Encoding: chunked\r\n\r\n":                     true,
		post + "Content-Length: 3\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\n":          false, // a folded value
		post + "Content-Length: 3\n\nTransfer-Encoding: chunked\r\n\r\n":                   false, // a body
		post + "X-Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n":                 false,
		"POST /Content-Length:/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n": false,
	} {
		if got := framedTwice([]byte(head)); got != want {
			t.Errorf("%v, want %v: %q", got, want, head)
		}
	}
}

// FuzzFraming compares framing with the fields that net/http finds in every request
// it accepts: in one piece and in two, alone and after a request with a body.
func FuzzFraming(f *testing.F) {
	for _, fields := range []string{"Content-Length: 3\r\nTransfer-Encoding: chunked", "transfer-encoding: chunked\ncontent-length: 3", "X: a\r\n\tContent-Length: 3\r\nTransfer-Encoding: chunked"} {
		f.Add([]byte("POST /hooks/a HTTP/1.1\r\nHost: h\r\n"+fields+"\r\n\r\n"), []byte("{}"), 30)
		f.Add([]byte("POST /hooks/a HTTP/1.0\n"+fields+"\n\nContent-Length: 1\r\n\r\n"), []byte("\nContent-Length:"), 40)
	}
	f.Fuzz(func(t *testing.T, raw, body []byte, cut int) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		text := textproto.NewReader(bufio.NewReader(bytes.NewReader(raw)))
		if _, err := text.ReadLine(); err != nil {
			t.Fatal(err)
		}
		fields, err := text.ReadMIMEHeader()
		if err != nil {
			t.Fatal(err)
		}
		want := len(fields["Content-Length"]) > 0 && len(fields["Transfer-Encoding"]) > 0
		if got := framedTwice(head(raw)); got != want {
			t.Fatalf("%v, want %v: %v\n%q", got, want, fields, raw)
		}
		if want && r.ProtoAtLeast(1, 1) && len(r.TransferEncoding) == 0 {
			t.Fatalf("net/http takes the length of %q", raw)
		}
		var watched framing
		watched.see(fmt.Appendf(nil, "POST /hooks/a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		cut = min(max(cut, 0), len(raw))
		watched.see(raw[:cut])
		watched.see(raw[cut:])
		if want && !watched.twice.Load() {
			t.Fatalf("missed after a body %q, cut at %d\n%q", body, cut, raw)
		}
	})
}

// head is raw up to its first empty line.
func head(raw []byte) []byte {
	for at := 0; ; {
		i := bytes.IndexByte(raw[at:], '\n')
		if i < 0 {
			return raw
		}
		line := raw[at : at+i]
		at += i + 1
		if len(line) == 0 || string(line) == "\r" {
			return raw[:at]
		}
	}
}
