package e2e

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/infra/testkit"
)

// While draining, and only then, each answer ends its connection: a balancer that
// keeps its connections busy goes elsewhere, and the drain finds its quiet.
func TestDrainingEndsKeptConnections(t *testing.T) {
	t.Parallel()
	for _, kept := range []struct {
		name, path string
		http2      bool
	}{
		{"a webhook", "/hooks/x", false},
		{"a chunked webhook, which net/http reads", "/hooks/x?chunked", false},
		{"a page", "/page", false},
		{"a webhook over HTTP/2", "/hooks/x", true},
	} {
		t.Run(kept.name, func(t *testing.T) {
			t.Parallel()
			db, a := newDatabase(t), runningApp(t)
			s := passing(t, db, a)
			transport := &http.Transport{}
			if kept.http2 {
				transport.Protocols = new(http.Protocols)
				transport.Protocols.SetUnencryptedHTTP2(true)
			}
			sender := &http.Client{Timeout: testkit.Patience, Transport: transport}
			reused := func() (reused bool) { // whether a request finds the last one's connection open
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+kept.path, strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				if strings.HasSuffix(kept.path, "chunked") {
					req.ContentLength = -1
				}
				resp, err := sender.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				return reused
			}
			reused()
			testkit.Eventually(t, "the connection is kept while the replica does not drain", reused)
			s.Signal(syscall.SIGTERM)
			s.waitState("draining")
			reused()
			testkit.Eventually(t, "the connection ends while the replica drains", func() bool { return !reused() })
		})
	}
}

// A balancer that sends without a pause ends up elsewhere.
func TestBusyKeptConnectionDoesNotHinderTheEnd(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	socket := listeningSocket(t)
	s := activated(t, socket, db, a)
	over := make(chan struct{})
	sender := &http.Client{Timeout: testkit.Patience, Transport: &http.Transport{}}
	go func() {
		defer close(over)
		for s.Running() {
			resp, err := sender.Post("http://"+socket.Addr().String()+"/hooks/x", "application/json", strings.NewReader("{}"))
			if err != nil {
				return // nobody has the socket any more
			}
			resp.Body.Close()
		}
	}()
	testkit.Eventually(t, "webhooks pass", func() bool { return len(a.deliveries()) > 20 })
	s.Signal(syscall.SIGTERM)
	if code := s.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	socket.Close() // the request that waits in its queue is refused
	select {
	case <-over:
	case <-time.After(testkit.Patience):
		t.Error("the sender does not end")
	}
}
