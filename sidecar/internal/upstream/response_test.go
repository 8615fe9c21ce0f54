package upstream

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// Answers that are unusual but valid, and whether the connection is reused.
func TestAnswers(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("v", 30000)
	for _, c := range []struct {
		name, answer string
		status       int
		body, fields string
		kept         bool
	}{
		{"plain", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", "", true},
		{"no reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, "", "", true},
		{"bare line feeds", "HTTP/1.1 200 OK\nX: y\nContent-Length: 2\n\nok", 200, "ok", "X: y\r\n", true},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\n\r\n", 200, "ok", "", true},
		{"chunked with trailers", "HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n", 200, "ok", "", true},
		{"interim", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", 202, "", "", true},
		{"204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, "", "", true},
		{"304", "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304, "", "ETag: x\r\n", true},
		{"same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200, "ok", "", true},
		{"closes", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 200, "ok", "", false},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", "", false},
		{"repeated and empty fields", "HTTP/1.1 200 OK\r\nA: 1\r\nB:\r\na: 2\r\nContent-Length: 0\r\n\r\n", 200, "", "A: 1\r\nB:\r\na: 2\r\n", true},
		{"forged and hop fields", "HTTP/1.1 200 OK\r\nSluice-Status: held\r\nsluice-id: x\r\nKeep-Alive: 5\r\nUpgrade: h2\r\nContent-Length: 0\r\n\r\n", 200, "", "", true},
		{"long field", "HTTP/1.1 200 OK\r\nX: " + long + "\r\nContent-Length: 0\r\n\r\n", 200, "", "X: " + long + "\r\n", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := newPeer(t, says(c.answer)).client(t)
			for range 3 {
				resp, body, err := ask(client, hook("{}"), patience)
				if err != nil || resp.Status != c.status || body != c.body || string(resp.Fields) != c.fields {
					t.Fatalf("got %d %q %.80q (%v), want %d %q %.80q", resp.Status, body, resp.Fields, err, c.status, c.body, c.fields)
				}
				if kept := len(client.idle) == 1; kept != c.kept {
					t.Errorf("connection kept: %v, want %v", kept, c.kept)
				}
			}
		})
	}
}

// Without a length, the end of the connection ends the body.
func TestAnswerUntilClose(t *testing.T) {
	t.Parallel()
	client := newPeer(t, func(_ int, c net.Conn, br *bufio.Reader) {
		if _, _, err := readRequest(br); err == nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("x", 100000))
		}
	}).client(t)
	for range 2 {
		if resp, body, err := ask(client, hook("{}"), patience); err != nil || resp.Length != -1 || len(body) != 100000 {
			t.Errorf("got %d bytes, length %d (%v)", len(body), resp.Length, err)
		}
	}
}

// A malformed answer is ErrReset, and never a success.
func TestNoAnswers(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"nothing": "", "cut in the status": "HTTP/1.1 20", "cut in the head": "HTTP/1.1 200 OK\r\nContent-Le",
		"not HTTP": "SSH-2.0-x\r\n", "HTTP/2": "HTTP/2.0 200 OK\r\n\r\n", "bad status": "HTTP/1.1 2x0 OK\r\n\r\n", "status 99": "HTTP/1.1 099 OK\r\n\r\n",
		"status 600": "HTTP/1.1 600 X\r\n\r\n", "bad length": "HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nok", "negative length": "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
		"signed length": "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
		"two lengths":   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "unknown encoding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
		"no colon": "HTTP/1.1 200 OK\r\nwhat\r\n\r\n", "space before colon": "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "folded": "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
		"switching": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "huge head": "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 100) + "\r\n",
		"huge line": "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("b", 200000) + "\r\n\r\n", "interim only": "HTTP/1.1 100 Continue\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			client := newPeer(t, func(_ int, c net.Conn, br *bufio.Reader) {
				if _, _, err := readRequest(br); err == nil {
					io.WriteString(c, answer)
				}
			}).client(t)
			resp, _, err := ask(client, hook("{}"), patience)
			if !errors.Is(err, ErrReset) {
				t.Errorf("got %d (%v), want ErrReset", resp.Status, err)
			}
			if len(client.idle)+len(client.active) != 0 {
				t.Error("the connection was kept")
			}
		})
	}
}

// Reading a body that ends too early fails.
func TestBodyCutShort(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n",
	} {
		client := newPeer(t, func(_ int, c net.Conn, br *bufio.Reader) {
			if _, _, err := readRequest(br); err == nil {
				io.WriteString(c, answer)
			}
		}).client(t)
		if resp, body, err := ask(client, hook("{}"), patience); err == nil || resp.Status != 200 {
			t.Errorf("%q: got %d %q without an error", answer, resp.Status, body)
		}
		if len(client.idle) != 0 {
			t.Errorf("%q: the connection was kept", answer)
		}
	}
}

// FuzzResponse checks that the parser ends, whatever the app sends, and never takes
// for a success what net/http would not read.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 204 X\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nuntil the end", "HTTP/1.1 503 \r\nRetry-After: 1\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		near, far := net.Pipe()
		go func() {
			far.Write(answer)
			far.Close()
		}()
		defer near.Close()
		e := &Exchange{client: &Client{active: map[*conn]struct{}{}}, conn: &conn{net: near, br: bufio.NewReaderSize(near, 4096)}}
		resp, err := e.Await(time.Now().Add(patience))
		if err != nil {
			if !errors.Is(err, ErrReset) {
				t.Fatalf("%q: %v", answer, err)
			}
			return
		}
		if resp.Status < 200 || resp.Status > 599 {
			t.Fatalf("%q: status %d", answer, resp.Status)
		}
		if len(resp.Fields) > 0 && !strings.HasSuffix(string(resp.Fields), "\r\n") || strings.Contains(string(resp.Fields), "\n\r\n") {
			t.Fatalf("%q: fields %q would end the head", answer, resp.Fields)
		}
		for line := range strings.Lines(string(resp.Fields)) {
			if !strings.HasSuffix(line, "\r\n") || strings.Count(line, "\n") != 1 || strings.IndexByte(line, ':') <= 0 {
				t.Fatalf("%q: field line %q", answer, line)
			}
		}
		n, err := io.Copy(io.Discard, e.Body())
		if err == nil && resp.Length >= 0 && n != resp.Length {
			t.Fatalf("%q: %d bytes, length %d", answer, n, resp.Length)
		}
		e.Close()
	})
}
