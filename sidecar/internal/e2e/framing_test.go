package e2e

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// A request that gives its length in two ways is refused, or is at least the last
// one on its connection: bytes that a proxy in front took for its body never become
// a request (RFC 9112, 6.3).
func TestBothFramingsEndTheConnection(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints) // after it the proxy forgets the fields that were set before
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusOK)
	})
	s, a := general(t, mux)
	const (
		plain   = "POST /hooks/plain HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
		chunked = "POST /hooks/chunked HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
		get     = "GET /upload HTTP/1.1\r\nHost: h\r\n\r\n"
		post    = "POST /hooks/x HTTP/1.1\r\nHost: h\r\n"
		put     = "PUT /upload HTTP/1.1\r\nHost: h\r\n"
		old     = "POST /hooks/x HTTP/1.0\r\nConnection: keep-alive\r\n"
		both    = "Content-Length: 5\r\nTransfer-Encoding: chunked"
		body    = "\r\n\r\n0\r\n\r\n"
		inner   = "POST /hooks/smuggled HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
	)
	for name, c := range map[string]struct {
		before []string // requests that keep the connection open
		last   string
		want   int
	}{
		"a webhook":                  {nil, post + both + body, 400},
		"the other order":            {nil, post + "Transfer-Encoding: chunked\r\nContent-Length: 5" + body, 400},
		"after plain ones":           {[]string{plain, plain}, post + both + body, 400},
		"no webhook":                 {nil, put + both + body, 400},
		"net/http has it":            {[]string{chunked, chunked}, post + both + body, 200},
		"net/http has it, general":   {[]string{plain, get}, put + both + body, 200},
		"net/http has it, long head": {nil, post + "X: " + strings.Repeat("x", 9000) + "\r\n" + both + body, 200},
		"HTTP/1.0":                   {nil, old + both + body, 400},
		"HTTP/1.0, a coding alone":   {nil, old + "Transfer-Encoding: chunked" + body, 200},
		"HTTP/1.0, net/http has it":  {[]string{get}, old + both + body, 200},
	} {
		t.Run(name, func(t *testing.T) {
			conn := s.dial()
			br := bufio.NewReader(conn)
			for _, request := range c.before {
				io.WriteString(conn, request)
				if status, closes, err := finalAnswer(br); status != 200 || closes || err != nil {
					t.Fatalf("%.20q: %d, close=%v (%v)", request, status, closes, err)
				}
			}
			go io.WriteString(conn, c.last+inner) // a refusal may come before the end
			want := c.want
			if os.Getenv(wireVar) == "net/http" {
				want = 200 // net/http takes the transfer coding, and the connection ends
			}
			if status, closes, err := finalAnswer(br); status != want || !closes || err != nil {
				t.Errorf("%d, close=%v (%v), want %d and the end", status, closes, err, want)
			}
			if next := readAnswer(br); next.status != 0 || !errors.Is(next.err, io.ErrUnexpectedEOF) {
				t.Errorf("after the last answer: %d (%v), want the end", next.status, next.err)
			}
		})
	}
	for _, d := range a.deliveries() {
		if d.uri == "/hooks/smuggled" {
			t.Error("smuggled")
		}
	}
}

// finalAnswer reads an answer that is no interim one, and whether the connection
// is said to end with it.
func finalAnswer(br *bufio.Reader) (status int, closes bool, err error) {
	for {
		resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodPost})
		if err != nil {
			return 0, false, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil {
			return 0, false, err
		}
		if resp.StatusCode >= 200 {
			return resp.StatusCode, resp.Close, nil
		}
	}
}
