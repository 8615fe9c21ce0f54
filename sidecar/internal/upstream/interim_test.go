package upstream

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Interim responses do not end the wait, wherever they are cut; only the final
// response is the answer.
func TestInterimAnswersAreNone(t *testing.T) {
	t.Parallel()
	const final = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	hints := "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nRetry-After: 9\r\n\r\n"
	for name, parts := range map[string][]string{
		"early hints":          {hints},
		"continue":             {"HTTP/1.1 100 Continue\r\n\r\n"},
		"processing":           {"HTTP/1.1 102 Processing\r\n\r\n"},
		"several":              {"HTTP/1.1 102 X\r\n\r\nHTTP/1.1 102 X\r\n\r\n" + hints},
		"bare line feeds":      {"HTTP/1.1 103 X\nA: b\n\n"},
		"longer than a buffer": {"HTTP/1.1 103 X\r\n" + strings.Repeat("Link: <"+strings.Repeat("x", 5000)+">\r\n", 3) + "\r\n"},
		"in two":               {hints[:30], hints[30:]},
		"in its status":        {hints[:4], hints[4:]},
		"in its last line end": {hints[:len(hints)-1], hints[len(hints)-1:]},
		"before its last line": {hints[:len(hints)-2], hints[len(hints)-2:]},
		"in a line end":        {hints[:25], hints[25:]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			next := make(chan struct{})
			defer close(next)
			client := newPeer(t, func(_ int, c net.Conn, br *bufio.Reader) {
				readRequest(br)
				for _, part := range append(parts, final) {
					io.WriteString(c, part)
					<-next
				}
			}).client(t)
			e, err := client.Send(hook("{}"), 1, false, time.Now().Add(patience))
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			for range parts {
				for range 2 {
					if _, err := e.Await(time.Now().Add(20 * time.Millisecond)); !errors.Is(err, ErrLate) {
						t.Fatalf("got %v, want ErrLate", err)
					}
				}
				next <- struct{}{}
			}
			resp, err := e.Await(time.Now().Add(patience))
			if err != nil || resp.Status != 200 || resp.Length != 2 || resp.RetryAfter != "" || strings.Contains(string(resp.Fields), "Link") {
				t.Errorf("got %+v (%v)", resp, err)
			}
		})
	}
}

// An app that sends interim responses for ever is late, and one whose interim
// response has no end breaks off.
func TestInterimAnswersHaveLimits(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		again string
		want  error
	}{
		"answers": {"HTTP/1.1 102 X\r\n\r\n", ErrLate},
		"fields":  {"A: " + strings.Repeat("b", 1000) + "\r\n", ErrReset},
		"a line":  {strings.Repeat("b", 1000), ErrReset},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newPeer(t, func(_ int, c net.Conn, br *bufio.Reader) {
				readRequest(br)
				io.WriteString(c, "HTTP/1.1 103 X\r\n")
				if name == "answers" {
					io.WriteString(c, "\r\n")
				}
				for {
					if _, err := io.WriteString(c, tc.again); err != nil {
						return
					}
				}
			}).client(t)
			limit := patience
			if tc.want == ErrLate {
				limit = 300 * time.Millisecond
			}
			if _, _, err := ask(client, hook("{}"), limit); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

// At replay an app that has sent 103 is waited for as long as any other: it is one
// try while the lease is renewed.
func TestInterimAnswerIsNoTry(t *testing.T) {
	t.Parallel()
	var tries atomic.Int64
	renewed := make(chan struct{})
	var once sync.Once
	renew := func() { once.Do(func() { close(renewed) }) }
	defer renew()
	client := newPeer(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for {
			if _, _, err := readRequest(br); err != nil {
				return
			}
			tries.Add(1)
			io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
			<-renewed
			io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	}).client(t)
	p := policy()
	asked := 0
	p.Until = func() time.Time {
		if asked++; asked == 5 {
			renew()
		}
		return time.Now().Add(50 * time.Millisecond)
	}
	if got := client.Deliver(t.Context(), hook("{}"), 1, p); got != (Result{Outcome: Delivered, Attempt: 1}) || tries.Load() != 1 {
		t.Errorf("got %+v after %d tries, want it delivered by the first", got, tries.Load())
	}
}
