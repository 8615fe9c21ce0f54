package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/sidecar/internal/webhook"
)

// An idle connection that the app has closed, or on which it has sent something
// unasked, is not used again.
func TestStaleConnections(t *testing.T) {
	t.Parallel()
	for name, parting := range map[string]string{"closed": "", "closed with a word": "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan struct{}, 100)
			client := newPeer(t, func(_ int, c net.Conn, br *bufio.Reader) {
				if _, _, err := readRequest(br); err != nil {
					return
				}
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				io.WriteString(c, parting)
				c.Close()
				ended <- struct{}{}
			}).client(t)
			for i := range 20 {
				if _, _, err := ask(client, hook("{}"), patience); err != nil {
					t.Fatalf("request %d: %v", i, err)
				}
				<-ended
				for end := time.Now().Add(patience); len(client.idle) == 1 && client.idle[0].isOpen() && time.Now().Before(end); {
					<-time.After(time.Millisecond)
				}
			}
		})
	}
}

// The app gets the captured request, with Sluice's own fields added, for every size
// of the body.
func TestRequestAsWritten(t *testing.T) {
	t.Parallel()
	type request struct{ head, body string }
	got := make(chan request, 1)
	client := newPeer(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for {
			head, body, err := readRequest(br)
			if err != nil {
				return
			}
			got <- request{head, body}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}).client(t)
	for _, n := range []int{0, 1, small, small + 1, 5 << 20} {
		w := hook(strings.Repeat("b", n))
		w.Head = w.Head.Add("X-Latin", "\xe9").Add("x-twice", "1").Add("X-Twice", "2")
		w.Verified = "github"
		if _, _, err := ask(client, w, patience); err != nil {
			t.Fatal(err)
		}
		r := <-got
		want := fmt.Sprintf("POST /hooks/x HTTP/1.1\r\nHost: h\r\nX-Latin: \xe9\r\nx-twice: 1\r\nX-Twice: 2\r\nContent-Length: %d\r\nSluice-Id: %s\r\n"+
			"Sluice-Received-At: 2023-11-14T22:13:20Z\r\nSluice-Attempt: 1\r\nSluice-Replayed: false\r\nSluice-Verified: github\r\nSluice-Route: generic\r\n", n, w.ID)
		if r.head != want || r.body != string(w.Body) {
			t.Errorf("%d bytes: head %q with %d bytes", n, r.head, len(r.body))
		}
	}
}

// The answer of an app that has not read the whole body is still read.
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	client := newPeer(t, func(_ int, c net.Conn, br *bufio.Reader) {
		br.ReadString('\n')
		io.WriteString(c, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, br)
	}).client(t)
	if resp, _, err := ask(client, hook(strings.Repeat("x", 8<<20)), patience); err != nil || resp.Status != 413 {
		t.Errorf("got %d (%v), want 413", resp.Status, err)
	}
}

// An app that stops reading a body is given up at the deadline.
func TestBodyNotTaken(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	client := newPeer(t, func(int, net.Conn, *bufio.Reader) { <-stop }).client(t)
	// The app ends it if nobody else does.
	giveUp := time.AfterFunc(patience, func() { close(stop) })
	_, _, err := ask(client, hook(strings.Repeat("x", 64<<20)), 300*time.Millisecond)
	if !giveUp.Stop() {
		t.Fatal("not given up")
	}
	close(stop)
	if !errors.Is(err, ErrReset) {
		t.Errorf("got %v, want ErrReset", err)
	}
}

// After ErrLate the exchange is open, and the answer can still be read.
func TestLate(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	client := newPeer(t, func(_ int, c net.Conn, br *bufio.Reader) {
		readRequest(br)
		<-release
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}).client(t)
	e, err := client.Send(hook("{}"), 1, false, time.Now().Add(patience))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for range 3 {
		if _, err := e.Await(time.Now().Add(20 * time.Millisecond)); !errors.Is(err, ErrLate) {
			t.Fatalf("got %v, want ErrLate", err)
		}
	}
	close(release)
	if resp, err := e.Await(time.Now().Add(patience)); err != nil || resp.Status != 200 {
		t.Errorf("got %v", err)
	}
}

func TestDialFailure(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(int, net.Conn, *bufio.Reader) {})
	client := p.client(t)
	if client.Refuses(t.Context()) {
		t.Error("a listening app refuses")
	}
	p.close()
	if _, _, err := ask(client, hook("{}"), patience); !errors.Is(err, ErrDial) {
		t.Errorf("got %v, want ErrDial", err)
	}
	if !client.Refuses(t.Context()) {
		t.Error("a dead app does not refuse")
	}
	prober := client.NewProber(patience)
	if err := prober.Probe(t.Context()); !errors.Is(err, ErrDial) {
		t.Errorf("probe: %v, want ErrDial", err)
	}
}

// Close ends requests under way and refuses new ones.
func TestClose(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	client := newPeer(t, func(_ int, _ net.Conn, br *bufio.Reader) { readRequest(br); <-stop }).client(t)
	defer close(stop)
	e, err := client.Send(hook("{}"), 1, false, time.Now().Add(patience))
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, client.Close)
	if _, err := e.Await(time.Now().Add(patience)); !errors.Is(err, ErrReset) {
		t.Errorf("got %v, want ErrReset", err)
	}
	if _, _, err := ask(client, hook("{}"), patience); !errors.Is(err, ErrDial) {
		t.Errorf("after Close: %v, want ErrDial", err)
	}
}

// policy returns a policy without limits; tests set the ones they need.
func policy() Policy {
	return Policy{
		MaxAttempts: 4, Timeout: patience, MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond,
		Healthy: func() bool { return true },
		Turn:    func(context.Context, int) (func(), error) { return func() {}, nil },
		Until:   func() time.Time { return time.Now().Add(time.Minute) },
	}
}

// Every kind of answer to a held webhook, and its outcome.
func TestDeliver(t *testing.T) {
	t.Parallel()
	const soon = time.Second
	forever := func(p *Policy) { p.AwayLimit = time.Hour }
	ok, no := "HTTP/1.1 204 X\r\n\r\n", func(status int) string {
		return fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n", status)
	}
	for _, c := range []struct {
		name    string
		answers []string // the last one is repeated; "" closes the connection
		first   int
		change  func(*Policy)
		want    Result
	}{
		{"taken", []string{ok}, 1, nil, Result{Outcome: Delivered, Attempt: 1}},
		{"taken later", []string{no(500), no(429), no(408), ok}, 1, nil, Result{Outcome: Delivered, Attempt: 4}},
		{"425 and 503", []string{no(425), no(503), ok}, 1, nil, Result{Outcome: Delivered, Attempt: 3}},
		{"after a reset", []string{"", ok}, 1, nil, Result{Outcome: Delivered, Attempt: 2}},
		{"refused", []string{no(400)}, 1, nil, Result{Outcome: Refused, Attempt: 1, Status: 400, Reason: "app answered 400"}},
		{"redirected", []string{"HTTP/1.1 302 X\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"}, 1, nil, Result{Outcome: Refused, Attempt: 1, Status: 302, Reason: "app answered 302"}},
		{"refused later", []string{no(500), no(404)}, 1, nil, Result{Outcome: Refused, Attempt: 2, Status: 404, Reason: "app answered 404"}},
		{"spent", []string{no(500)}, 1, nil, Result{Outcome: Refused, Attempt: 4, Reason: "gave up after 4 attempts: app answered 500"}},
		{"spent by resets", []string{""}, 1, nil, Result{Outcome: Refused, Attempt: 4, Reason: "gave up after 4 attempts: " + ErrReset.Error()}},
		{"spent before", []string{no(500)}, 9, nil, Result{Outcome: Refused, Attempt: 9, Reason: "gave up after 9 attempts: app answered 500"}},
		{"away for a while", []string{no(503), no(503), no(503), no(503), no(503), no(503), ok}, 1, forever, Result{Outcome: Delivered, Attempt: 1}},
		{"away and faulty", []string{no(503), no(500), no(503), no(500), no(503), ok}, 1, forever, Result{Outcome: Delivered, Attempt: 3}},
		{"away, then spent", []string{no(503), no(503), no(500)}, 1, forever, Result{Outcome: Refused, Attempt: 4, Reason: "gave up after 4 attempts: app answered 500"}},
		{"away, spent before", []string{no(503), no(503), ok}, 9, forever, Result{Outcome: Delivered, Attempt: 9}},
		{"away for too long", []string{no(503)}, 1, func(p *Policy) { p.AwayLimit = soon }, Result{Outcome: Refused, Attempt: 4, Reason: "gave up after 4 attempts: app answered 503"}},
		{"away, then unhealthy", []string{no(503)}, 9, func(p *Policy) {
			p.AwayLimit = time.Hour
			asked := 0
			p.Healthy = func() bool { asked++; return asked < 4 }
		}, Result{Outcome: Away, Attempt: 8, Reason: "app answered 503"}},
		{"unhealthy", []string{ok}, 3, func(p *Policy) { p.Healthy = func() bool { return false } }, Result{Outcome: Away, Attempt: 2, Reason: "app is away"}},
		{"without a lease", []string{ok}, 3, func(p *Policy) { p.Until = func() time.Time { return time.Time{} } }, Result{Outcome: Away, Attempt: 2, Reason: "app is away"}},
		{"no turn", []string{ok}, 3, func(p *Policy) {
			p.Turn = func(context.Context, int) (func(), error) { return nil, context.Canceled }
		}, Result{Outcome: Away, Attempt: 2, Reason: "app is away"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var n atomic.Int64
			client := newPeer(t, func(_ int, conn net.Conn, br *bufio.Reader) {
				for {
					if _, _, err := readRequest(br); err != nil {
						return
					}
					answer := c.answers[min(int(n.Add(1)), len(c.answers))-1]
					if answer == "" {
						return
					}
					io.WriteString(conn, answer)
				}
			}).client(t)
			p := policy()
			if c.change != nil {
				c.change(&p)
			}
			turns := 0
			if turn := p.Turn; c.change == nil {
				p.Turn = func(ctx context.Context, attempt int) (func(), error) {
					turns++
					done, err := turn(ctx, attempt)
					return func() { turns--; done() }, err
				}
			}
			if got := client.Deliver(t.Context(), hook("{}"), c.first, p); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if turns != 0 {
				t.Errorf("%d turns were not given back", turns)
			}
		})
	}
}

// The app sees a different number with each try, whether it counts or not.
func TestTriesAreNumbered(t *testing.T) {
	t.Parallel()
	var numbers []string
	answers := []int{500, 503, 503, 500, 204}
	peer := newPeer(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for {
			head, _, err := readRequest(br)
			if err != nil {
				return
			}
			_, number, _ := strings.Cut(head, "Sluice-Attempt: ")
			number, _, _ = strings.Cut(number, "\r\n")
			numbers = append(numbers, number)
			fmt.Fprintf(c, "HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n", answers[len(numbers)-1])
		}
	})
	client := peer.client(t)
	p := policy()
	p.AwayLimit = time.Hour
	if got := client.Deliver(t.Context(), hook("{}"), 2, p); got != (Result{Outcome: Delivered, Attempt: 4}) {
		t.Errorf("got %+v, want delivered by the third try that counts, after one before", got)
	}
	peer.close()
	if fmt.Sprint(numbers) != "[2 3 4 5 6]" {
		t.Errorf("tries were numbered %v", numbers)
	}
}

// A webhook that did not reach the app is not refused, even when no try is left.
func TestAwayWhenSpent(t *testing.T) {
	t.Parallel()
	peer := newPeer(t, says(""))
	client := peer.client(t)
	peer.close()
	if got := client.Deliver(t.Context(), hook("{}"), 9, policy()); got.Outcome != Away || got.Attempt != 8 {
		t.Errorf("got %+v, want Away after 8", got)
	}
}

// Retry-After is honoured up to the longest backoff, in seconds and as a date.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for value, least := range map[string]time.Duration{
		"1": 950 * time.Millisecond, "3600": 950 * time.Millisecond, time.Now().Add(time.Hour).UTC().Format(time.RFC1123): 0, "soon": 0, "-5": 0,
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			client := newPeer(t, func(_ int, c net.Conn, br *bufio.Reader) {
				for {
					if _, _, err := readRequest(br); err != nil {
						return
					}
					if n.Add(1) == 1 {
						io.WriteString(c, "HTTP/1.1 503 X\r\nRetry-After: "+value+"\r\nContent-Length: 0\r\n\r\n")
					} else {
						io.WriteString(c, "HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n")
					}
				}
			}).client(t)
			p := policy()
			p.MaxBackoff = time.Second
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), patience) // the longest backoff is an hour
			defer cancel()
			if got := client.Deliver(ctx, hook("{}"), 1, p); got.Outcome != Delivered || got.Attempt != 2 {
				t.Errorf("got %+v", got)
			}
			if took := time.Since(began); took < least {
				t.Errorf("tried again after %v, want %v at the least", took, least)
			}
		})
	}
}

// The end of its context ends a delivery in its backoff. The end of its lease ends a
// wait for an answer, unless the lease is renewed meanwhile.
func TestDeliverEnds(t *testing.T) {
	t.Parallel()
	client := newPeer(t, says("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")).client(t)
	p := policy()
	p.MinBackoff, p.MaxBackoff = time.Hour, time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	p.Turn = func(context.Context, int) (func(), error) { return func() { cancel() }, nil }
	if got := client.Deliver(ctx, hook("{}"), 1, p); got.Outcome != Away || got.Attempt != 1 {
		t.Errorf("in its backoff: %+v, want Away after attempt 1", got)
	}
	release := make(chan struct{})
	silent := newPeer(t, func(_ int, c net.Conn, br *bufio.Reader) {
		readRequest(br)
		<-release
		io.WriteString(c, "HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n")
	}).client(t)
	p = policy()
	p.MaxAttempts = 1
	began, renewals := time.Now(), 0
	p.Until = func() time.Time { // renewed twice, then lost
		if renewals++; renewals < 4 {
			return time.Now().Add(time.Second)
		}
		return began
	}
	got := silent.Deliver(t.Context(), hook("{}"), 1, p)
	close(release)
	if got.Outcome == Delivered || renewals < 4 {
		t.Errorf("without a lease: %+v after %d renewals", got, renewals)
	}
}

// Freshen works on a copy: the stored webhook does not change.
func TestFreshenLeavesTheStored(t *testing.T) {
	t.Parallel()
	client := newPeer(t, says("HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n")).client(t)
	w := hook("{}")
	before := string(w.Head)
	p := policy()
	p.Freshen = func(w *webhook.Webhook) { w.Head = w.Head.Set("X-Signature", "new") }
	if got := client.Deliver(t.Context(), w, 1, p); got.Outcome != Delivered || string(w.Head) != before {
		t.Errorf("%+v, head is now %q", got, w.Head)
	}
}
