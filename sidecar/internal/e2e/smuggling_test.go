package e2e

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/infra/testkit"
)

// Requests that two parsers might read differently end the connection with an
// error, and nothing of them becomes a second request.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"HEADER_TIMEOUT": "5s", "BODY_TIMEOUT": "5s"})
	inner := "POST /hooks/smuggled HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
	post := "POST /hooks/x HTTP/1.1\r\nHost: h\r\n"
	for _, c := range []struct {
		name, request string
		want          []int // allowed statuses; 0: the connection is closed without an answer
	}{
		{"bare line feeds", "POST /hooks/x HTTP/1.1\nHost: h\nContent-Length: 2\n\n{}", []int{400, 200, 0}},
		{"two lengths", post + "Content-Length: 2\r\nContent-Length: 4\r\n\r\n{}" + inner, []int{400}},
		{"list of lengths", post + "Content-Length: 2, 4\r\n\r\n{}" + inner, []int{400}},
		{"signed length", post + "Content-Length: +2\r\n\r\n{}" + inner, []int{400}},
		{"negative length", post + "Content-Length: -2\r\n\r\n{}" + inner, []int{400}},
		{"length in hex", post + "Content-Length: 0x2\r\n\r\n{}" + inner, []int{400}},
		{"empty length", post + "Content-Length:\r\n\r\n" + inner, []int{400}},
		{"unknown encoding", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + inner, []int{400, 501}},
		{"encoding with a tab", post + "Transfer-Encoding:\tchunked, identity\r\n\r\n0\r\n\r\n" + inner, []int{400, 501}},
		{"space before colon", post + "Content-Length : 5\r\n\r\n{}", []int{400}},
		{"obsolete folding", post + "X-Fold: a\r\n b\r\nContent-Length: 2\r\n\r\n{}", []int{400, 200}},
		{"NUL in a value", post + "X-Bad: a\x00b\r\nContent-Length: 2\r\n\r\n{}", []int{400}},
		{"carriage return in a value", post + "X-Bad: a\rSluice-Id: forged\r\nContent-Length: 2\r\n\r\n{}", []int{400}},
		{"no host", "POST /hooks/x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", []int{400}},
		{"two hosts", post + "Host: other\r\nContent-Length: 2\r\n\r\n{}", []int{400}},
		{"space in the target", "POST /hooks/x HTTP/1.1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", []int{400}},
		{"bad chunk", post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", []int{400}},
		{"body cut short", post + "Content-Length: 200\r\n\r\n{}", []int{400, 408, 0}},
		{"chunks cut short", post + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", []int{400, 408, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			br := bufio.NewReader(s.halfClosed(t, c.request))
			got := readAnswer(br)
			ok := false
			for _, w := range c.want {
				ok = ok || got.status == w
			}
			if !ok {
				t.Errorf("answered %d %q (%v), want one of %v", got.status, got.body, got.err, c.want)
			}
			if next := readAnswer(br); next.status != 0 && next.status != 400 {
				t.Errorf("a second request was answered: %d %q", next.status, next.body)
			}
		})
	}
	for _, d := range a.deliveries() {
		if d.uri != "/hooks/x" || d.id == "forged" {
			t.Errorf("smuggled: %s %s", d.id, d.uri)
		}
		if d.size != 2 && d.size != 0 {
			t.Errorf("a body of %d bytes reached the app: %q", d.size, d.body)
		}
	}
}

// halfClosed sends bytes and closes its side of the connection.
func (s *sidecar) halfClosed(t *testing.T, request string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testkit.Patience))
	io.WriteString(c, request)
	c.(*net.TCPConn).CloseWrite()
	return c
}

// A webhook that has arrived only in part is never accepted.
func TestTruncatedBodyIsNeverTaken(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"BODY_TIMEOUT": "3s"})
	var silent sync.WaitGroup
	for _, up := range []bool{true, false} {
		if !up {
			a.stop()
			s.mustHold("/hooks/kept", "{}")
		}
		for _, part := range []string{
			"POST /hooks/cut HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{",
			"POST /hooks/cut HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 30000),
			"POST /hooks/cut HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
			"POST /hooks/cut HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		} {
			c := s.halfClosed(t, part)
			if got := readAnswer(bufio.NewReader(c)); got.status/100 == 2 {
				t.Errorf("app up=%v: %.60q got %d", up, part, got.status)
			}
			slow := s.dial() // open, but silent
			io.WriteString(slow, part)
			silent.Go(func() {
				if got := readAnswer(bufio.NewReader(slow)); got.status/100 == 2 || errors.Is(got.err, os.ErrDeadlineExceeded) {
					t.Errorf("app up=%v: silent after %.60q got %d (%v)", up, part, got.status, got.err)
				}
			})
		}
		silent.Wait()
	}
	if n := db.number(`SELECT count(*) FROM webhook_queue WHERE convert_from(headers, 'LATIN1') LIKE '%/hooks/cut%'`); n != 0 {
		t.Errorf("%d parts were stored", n)
	}
	for _, d := range a.deliveries() {
		if d.uri == "/hooks/cut" {
			t.Error("a part reached the app")
		}
	}
}
