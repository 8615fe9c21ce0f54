package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/infra/testkit"
)

// rawApp is an app that keeps a request's head exactly as it arrives.
type rawApp struct {
	app  *app
	ln   net.Listener
	seen chan rawRequest
	// before is called with each webhook before it is answered, nil for nothing.
	before atomic.Pointer[func(io.Writer)]
}

type rawRequest struct{ head, body string }

// newRawApp listens on the address of an app that is not started.
func newRawApp(t testing.TB, a *app) *rawApp {
	t.Helper()
	r := &rawApp{app: a, seen: make(chan rawRequest, 64)}
	r.listen(t)
	t.Cleanup(func() { r.ln.Close() })
	return r
}

func (r *rawApp) listen(t testing.TB) {
	t.Helper()
	ln, err := net.Listen("tcp", r.app.addr)
	if err != nil {
		t.Fatal(err)
	}
	r.ln = ln
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go r.serve(c)
		}
	}()
}

func (r *rawApp) serve(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(testkit.Patience))
	br := bufio.NewReader(c)
	var head strings.Builder
	length := 0
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return
		}
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "content-length") {
			fmt.Sscan(strings.TrimSpace(value), &length)
		}
		if line == "\r\n" {
			break
		}
		head.WriteString(line)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(br, body); err != nil {
		return
	}
	webhook := strings.HasPrefix(head.String(), "POST /hooks/")
	if before := r.before.Load(); webhook && before != nil {
		(*before)(c)
	}
	io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	if webhook {
		r.seen <- rawRequest{head.String(), string(body)}
	}
}

func (r *rawApp) next(t testing.TB) rawRequest {
	t.Helper()
	select {
	case got := <-r.seen:
		return got
	case <-time.After(testkit.Patience):
		t.Fatal("nothing has reached the app")
		return rawRequest{}
	}
}

// dial opens a connection to the public listener.
func (s *sidecar) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testkit.Patience))
	return c
}

// raw sends bytes on a connection of their own and returns the first answer,
// status 0 when the connection was closed without one.
func (s *sidecar) raw(request string) answer {
	s.t.Helper()
	c := s.dial()
	defer c.Close()
	io.WriteString(c, request) // a refusal may come before the end
	return readAnswer(bufio.NewReader(c))
}

func readAnswer(br *bufio.Reader) answer {
	resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodPost})
	if err != nil {
		return answer{err: err, header: http.Header{}}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{err: err, status: resp.StatusCode, header: resp.Header, body: string(body)}
}

const fieldsWithEverything = "" +
	"X-Twice: first\r\n" +
	"x-lower-case: kept\r\n" +
	"X-Twice: second, with a comma\r\n" +
	"X-Latin: caf\xe9 \xff\r\n" +
	"X-Utf8: smörgåsbord ✓\r\n" +
	"X-Empty:\r\n" +
	"X-Inner:  two  spaces\tand a tab \r\n" +
	"X-Quoted: \"a;b\", c=d; e=\"f,g\"\r\n" +
	"X-Twice: third\r\n" +
	"Cookie: a=1; b=2\r\n" +
	"Authorization: Basic Zm9vOmJhcg==\r\n" +
	"Content-Type: application/json; charset=\"utf-8\"\r\n" +
	"Accept-Encoding: br;q=1.0, *;q=0\r\n"

// values returns the values of a field in a raw head, in order.
func values(head, name string) (vs []string) {
	for _, line := range strings.Split(head, "\r\n")[1:] {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			vs = append(vs, strings.Trim(v, " \t"))
		}
	}
	return vs
}

// Every value of every field reaches the app byte for byte, repeated names in their
// order, both at once and through the queue.
func TestHeadReachesAppUnchanged(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), newApp(t)
	raw := newRawApp(t, a)
	s := passing(t, db, a)
	const body = "{\"a\":\"\x00\xff\"}\r\n\r\n"
	const target = "/hooks/a;b=c/%2F%20/../x?q=1&q=2&empty=&plus=a+b&pct=%E9%00"
	for _, way := range []string{"passed", "held"} {
		if way == "held" {
			raw.ln.Close()
		}
		for _, framing := range []string{"length", "chunked"} {
			request := "POST " + target + " HTTP/1.1\r\nHost: hooks.example.com:8443\r\n" + fieldsWithEverything
			if framing == "length" {
				request += fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
			} else {
				request += fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n4\r\n%s\r\n%x;ext=1\r\n%s\r\n0\r\n\r\n", body[:4], len(body)-4, body[4:])
			}
			got := s.raw(request)
			if got.status/100 != 2 || got.held() != (way == "held") {
				t.Fatalf("%s, %s: answered %d %q (%v)", way, framing, got.status, got.body, got.err)
			}
		}
		if way == "held" {
			raw.listen(t)
		}
		for _, framing := range []string{"length", "chunked"} {
			got := raw.next(t)
			checkHead(t, way+", "+framing, got.head, target)
			if got.body != body {
				t.Errorf("%s, %s: body is %q", way, framing, got.body)
			}
		}
	}
}

func checkHead(t *testing.T, what, head, target string) {
	t.Helper()
	if line, _, _ := strings.Cut(head, "\r\n"); line != "POST "+target+" HTTP/1.1" {
		t.Errorf("%s: request line is %q", what, line)
	}
	sent := "POST / HTTP/1.1\r\n" + fieldsWithEverything
	for _, name := range []string{
		"X-Twice", "X-Lower-Case", "X-Latin", "X-Utf8", "X-Empty", "X-Inner", "X-Quoted", "Cookie",
		"Authorization", "Content-Type", "Accept-Encoding",
	} {
		want, got := values(sent, name), values(head, name)
		if fmt.Sprintf("%q", want) != fmt.Sprintf("%q", got) {
			t.Errorf("%s: %s is %q, want %q", what, name, got, want)
		}
	}
	for name, want := range map[string]string{
		"Host": "hooks.example.com:8443", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http",
		"X-Forwarded-Host": "hooks.example.com:8443",
	} {
		if got := values(head, name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %s is %q, want %q", what, name, got, want)
		}
	}
	for _, name := range []string{"Sluice-Id", "Sluice-Received-At", "Sluice-Attempt", "Sluice-Replayed", "Content-Length"} {
		if got := values(head, name); len(got) != 1 {
			t.Errorf("%s: %s is there %d times", what, name, len(got))
		}
	}
	if got := values(head, "Transfer-Encoding"); len(got) != 0 {
		t.Errorf("%s: Transfer-Encoding went on: %q", what, got)
	}
}

// Fields that senders may forge never reach the app. Fields of proxies in front of
// the sidecar are kept.
func TestForgedAndForwardedFields(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), newApp(t)
	raw := newRawApp(t, a)
	s := passing(t, db, a)
	forged := "Sluice-Id: forged\r\nsluice-verified: github\r\nSLUICE-Signature: v1=00\r\nSluice-Attempt: 7\r\nSluice-Anything: x\r\n" +
		"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: 198.51.100.1, 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: outside.example\r\n"
	for _, framing := range []string{"Content-Length: 2\r\n\r\n{}", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"} {
		if got := s.raw("POST /hooks/x HTTP/1.1\r\nHost: h\r\n" + forged + framing); got.status != 200 {
			t.Fatalf("answered %d (%v)", got.status, got.err)
		}
		head := raw.next(t).head
		if strings.Contains(head, "forged") || strings.Contains(head, "v1=00") || len(values(head, "Sluice-Verified"))+len(values(head, "Sluice-Anything")) > 0 {
			t.Errorf("a forged field went on:\n%s", head)
		}
		if got := values(head, "Sluice-Attempt"); len(got) != 1 || got[0] != "1" {
			t.Errorf("Sluice-Attempt is %q", got)
		}
		for name, want := range map[string]string{
			"X-Forwarded-For":   "203.0.113.7, 198.51.100.1, 192.0.2.1, 127.0.0.1",
			"X-Forwarded-Proto": "https", "X-Forwarded-Host": "outside.example",
		} {
			if got := values(head, name); len(got) != 1 || got[0] != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	}
}

// A sender that does not finish its request's head is disconnected, and others are
// served meanwhile.
func TestSlowHead(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"HEADER_TIMEOUT": "3s"})
	for _, start := range []string{"P", "POST /hooks/x HTTP/1.1\r\nHost: h\r\n", "GET / HTTP/1.1\r\nHo", "\x16\x03\x01\x02\x00"} {
		c := s.dial()
		io.WriteString(c, start)
		done := make(chan struct{})
		go func() { // a byte now and then must not extend the limit
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					if _, err := io.WriteString(c, "x"); err != nil {
						return
					}
				case <-done:
					return
				}
			}
		}()
		s.mustPass("/hooks/other", "{}")
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: not sent away", start)
		}
		close(done)
	}
}

// Requests that come before the answers to earlier ones are answered in order.
func TestPipelined(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a)
	c := s.dial()
	const n = 40
	var all strings.Builder
	for i := range n {
		body := numbered("pipe", i)
		switch i % 4 {
		case 3:
			fmt.Fprintf(&all, "POST /hooks/p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
		default:
			fmt.Fprintf(&all, "POST /hooks/p HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	}
	go io.WriteString(c, all.String())
	br := bufio.NewReader(c)
	for i := range n {
		if i == n/2 {
			a.stop()
		}
		if got := readAnswer(br); got.status/100 != 2 {
			t.Fatalf("request %d: %d %q (%v)", i, got.status, got.body, got.err)
		}
	}
	a.start()
	a.waitAccepted(n)
	testkit.Eventually(t, "the queue is empty", func() bool { return db.active() == 0 })
	next := 0
	for _, d := range a.accepted() {
		// The app may have one twice: its answer was lost when the app was stopped.
		switch _, m := d.number(); {
		case m == next:
			next++
		case m > next || d.replayed != "true":
			t.Fatalf("webhook %d came, want %d", m, next)
		}
	}
	if next != n {
		t.Errorf("%d of %d came", next, n)
	}
}

func TestOddButLegalRequests(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a)
	for _, held := range []bool{false, true} {
		if held {
			a.stop()
			s.mustHold("/hooks/first", "{}")
		}
		for name, request := range map[string]string{
			"HTTP/1.0":          "POST /hooks/x HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}",
			"HTTP/1.0 and host": "POST /hooks/x HTTP/1.0\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
			"absolute form":     "POST http://h/hooks/x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
			"no body":           "POST /hooks/x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
			"no length at all":  "POST /hooks/x HTTP/1.1\r\nHost: h\r\n\r\n",
			"escaped path":      "POST /%68ooks/x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
			"connection close":  "POST /hooks/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
			"connection names":  "POST /hooks/x HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\n{}",
			"long head":         "POST /hooks/x HTTP/1.1\r\nHost: h\r\nX-Long: " + strings.Repeat("a", 40000) + "\r\nContent-Length: 2\r\n\r\n{}",
			"split head and trailer": "POST /hooks/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n" +
				"2\r\n{}\r\n0\r\nX-T: 1\r\n\r\n",
		} {
			got := s.raw(request)
			if got.status/100 != 2 || got.held() != held {
				t.Errorf("%s: %d %q held=%v, want held=%v (%v)", name, got.status, got.body, got.held(), held, got.err)
			}
		}
	}
	a.start()
	a.waitAccepted(21)
	for _, d := range a.deliveries() {
		if d.header.Get("X-Hop") != "" || d.header.Get("Trailer") != "" {
			t.Errorf("a field for one connection went on: %v", d.header)
		}
	}
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"MAX_BODY_BYTES": "1000"})
	for _, held := range []bool{false, true} {
		if held {
			a.stop()
			s.mustHold("/hooks/first", "{}")
		}
		c := s.dial()
		io.WriteString(c, "POST /hooks/x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
		br := bufio.NewReader(c)
		line, err := br.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
			t.Fatalf("no 100: %q %v", line, err)
		}
		br.ReadString('\n')
		io.WriteString(c, "{}")
		if got := readAnswer(br); got.status/100 != 2 || got.held() != held {
			t.Errorf("answered %d held=%v", got.status, got.held())
		}
		// Too large: refused before the body is sent.
		if got := s.raw("POST /hooks/x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n"); got.status != 413 {
			t.Errorf("answered %d, want 413", got.status)
		}
	}
	for _, d := range a.deliveries() {
		if d.header.Get("Expect") != "" {
			t.Error("Expect went on to the app")
		}
	}
}
