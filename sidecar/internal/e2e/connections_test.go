package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"sluice/infra/testkit"
)

// At MAX_CONNECTIONS an idle connection is closed for a new one, whichever kind it
// is. When none is idle, a new one gets 503 with Retry-After, and the probes still
// answer.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	const limit = 20
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"MAX_CONNECTIONS": fmt.Sprint(limit)})
	const webhook = "POST /hooks/x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
	for i, begins := range []string{"", webhook, "GET /page HTTP/1.1\r\nHost: h\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"} {
		for range limit { // a kind that is never closed would use up the limit
			c := s.dial()
			io.WriteString(c, begins)
			if i == 1 || i == 2 {
				testkit.Eventually(t, "an idle connection is answered", func() bool {
					got := readAnswer(bufio.NewReader(c))
					if got.status == 503 {
						c = s.dial()
						io.WriteString(c, begins)
					}
					return got.status == 200
				})
			}
		}
		testkit.Eventually(t, fmt.Sprintf("idle connections of kind %d make room for a health check", i), func() bool {
			return s.raw("GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").status == 200
		})
		testkit.Eventually(t, fmt.Sprintf("idle connections of kind %d make room for a webhook", i), func() bool {
			return s.raw(strings.Replace(webhook, "\r\n", "\r\nConnection: close\r\n", 1)).status == 200
		})
	}
	release := make(chan struct{})
	a.does(func(http.ResponseWriter, *http.Request, delivery) int { <-release; return 200 })
	var working []*bufio.Reader
	testkit.Eventually(t, "all connections are at work", func() bool {
		c := s.dial()
		io.WriteString(c, webhook)
		if int(a.busy.Load()) < limit {
			working = append(working, bufio.NewReader(c))
		}
		return int(a.busy.Load()) == limit
	})
	got := s.raw(webhook)
	if got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("one more is answered %d (%v)", got.status, got.err)
	}
	for _, path := range []string{"/livez", "/readyz", "/startupz"} {
		if status := s.probe(path); status != 200 {
			t.Errorf("%s is %d", path, status)
		}
	}
	s.WaitRecords(1, "Connection refused, there are as many as there may be (MAX_CONNECTIONS)")
	if _, body := s.metrics(); !strings.Contains(body, fmt.Sprintf("sluice_connections %d\n", limit)) || strings.Contains(body, "sluice_connections_refused_total 0\n") || strings.Contains(body, "sluice_connections_evicted_total 0\n") {
		t.Error("the metrics do not tell")
	}
	close(release)
	testkit.Eventually(t, "there is room again", func() bool { return s.raw(webhook).status == 200 })
}
