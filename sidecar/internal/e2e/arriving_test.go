package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Bodies that are announced and never arrive keep no other sender out.
func TestIdleConnectionsRefuseNobody(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/hooks/idle", "/%68ooks/idle"} { // the second is net/http's
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			db, a := newDatabase(t), runningApp(t)
			s := passing(t, db, a)
			for _, mb := range []int{25, 25, 14} {
				c := s.dial()
				fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n{", path, mb<<20)
			}
			for i := range 10 {
				for _, size := range []int{2, 20 << 10, 200 << 10, 2 << 20} {
					if got := s.sendBody("/hooks/x", noise(uint64(i), size), i%2 == 1); !got.acknowledged() {
						t.Fatalf("%d bytes beside idle connections: %d %q (%v)", size, got.status, got.body, got.err)
					}
				}
			}
			if got := s.sendBody("/hooks/x", noise(99, maxBody), false); !got.acknowledged() {
				t.Fatalf("the largest beside idle connections: %d %q (%v)", got.status, got.body, got.err)
			}
		})
	}
}

// A body that comes too slowly gets 408 long before BODY_TIMEOUT. One that is slow
// only because it is small is accepted.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"BODY_TIMEOUT": "10m", "BODY_MIN_RATE": "1000"})
	honest := "POST /hooks/small HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n"
	for _, path := range []string{"/hooks/slow", "/%68ooks/slow"} {
		for framing, begins := range map[string]string{
			"nothing":   "Content-Length: 100\r\n\r\n",
			"large":     "Content-Length: 1000000\r\n\r\n" + strings.Repeat("x", 600_000),
			"no length": "Transfer-Encoding: chunked\r\n\r\n7d000\r\n" + strings.Repeat("x", 400_000),
		} {
			t.Run(path+" "+framing, func(t *testing.T) {
				t.Parallel()
				c := s.dial()
				go io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: h\r\n"+begins)
				if got := readAnswer(bufio.NewReader(c)); got.status != http.StatusRequestTimeout {
					t.Errorf("answered %d %q (%v)", got.status, got.body, got.err)
				}
			})
		}
	}
	t.Run("small", func(t *testing.T) {
		t.Parallel()
		c := s.dial()
		io.WriteString(c, honest)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for range 20 {
			<-tick.C
			io.WriteString(c, "x")
		}
		if got := readAnswer(bufio.NewReader(c)); got.status != http.StatusOK {
			t.Errorf("answered %d %q (%v)", got.status, got.body, got.err)
		}
	})
}
