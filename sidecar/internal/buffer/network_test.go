package buffer

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/infra/testkit"
)

// cutter is a proxy to a server that cuts a connection when the server's nth
// answer is due: the statement is done, and its client will never know.
type cutter struct {
	net.Listener
	answers atomic.Int64 // after how many answers a connection is cut, 0 never
	frozen  atomic.Int64 // the first so many connections say nothing more
	number  atomic.Int64
	cut     atomic.Int64
	open    sync.WaitGroup
}

func newCutter(t *testing.T, to string) (*cutter, string) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	target := u.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: listener}
	c.open.Go(func() {
		for {
			client, err := c.Accept()
			if err != nil {
				return
			}
			c.open.Go(func() { c.serve(client, target) })
		}
	})
	t.Cleanup(func() {
		_ = c.Close()
		c.open.Wait()
	})
	u.Host = listener.Addr().String()
	return c, u.String()
}

func (c *cutter) serve(client net.Conn, target string) {
	defer client.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
	})
	number := c.number.Add(1)
	buf := make([]byte, 64<<10)
	for n := int64(1); ; n++ {
		size, err := server.Read(buf)
		if limit := c.answers.Load(); limit > 0 && n > limit+4 { // four for the greeting
			c.cut.Add(1)
			break
		}
		if err != nil {
			break
		}
		if number <= c.frozen.Load() {
			continue
		}
		if _, err := client.Write(buf[:size]); err != nil {
			break
		}
	}
	_ = client.Close()
	up.Wait()
}

// Connections die after the commit and before its answer, again and again: no
// acknowledgement is false, none is given twice, and hardly anything is refused.
func TestLostAnswers(t *testing.T) {
	direct := testkit.Database(t)
	proxy, url := newCutter(t, direct)
	s := open(t, url)
	proxy.answers.Store(4)
	l, stop := crowd(t, s, 32)
	testkit.Eventually(t, "connections are cut under load", func() bool {
		n, _ := l.count()
		return proxy.cut.Load() > 50 && n > 500
	})
	stop()
	l.check(t, direct)
	t.Logf("%d connections cut", proxy.cut.Load())
	// A webhook without a delivery id is recognised by its own id.
	proxy.answers.Store(0)
	w := hook("lane", 1)
	w.DeliveryID = ""
	first := mustAppend(t, s, w)
	if again := mustAppend(t, s, w); again.Duplicate || again.QueueID != first.QueueID {
		t.Errorf("the same webhook again: %+v after %+v", again, first)
	}
	// Claims and settles survive it as well.
	proxy.answers.Store(6)
	if err := s.Join(t.Context(), "passing"); err != nil {
		t.Fatal(err)
	}
	done := 0
	testkit.Eventually(t, "some rows are settled", func() bool {
		leases, _, _, err := s.RenewLeases(t.Context(), false)
		if err != nil {
			return false
		}
		rows, _, err := s.Claim(t.Context(), leases, ClaimFilter{Limit: 20})
		if err != nil {
			return false
		}
		var out []Outcome
		for _, r := range rows {
			out = append(out, Outcome{QueueID: r.QueueID, Epoch: r.Epoch, Result: Completed, Attempt: r.Attempt})
		}
		if err := s.Settle(t.Context(), out); err == nil {
			done += len(out)
		}
		return done >= 200
	})
	db := sqlConn(t, direct)
	if n := query[int](t, db, `SELECT count(*) FROM webhook_queue WHERE status = 'completed'`); n[0] < done {
		t.Errorf("%d completed, %d were settled", n[0], done)
	}
}

// Every open connection goes silent, as when a primary's machine is gone: a
// fresh one is tried while the sender still waits, and no lease is lost.
func TestSilentServer(t *testing.T) {
	direct := testkit.Database(t)
	proxy, url := newCutter(t, direct)
	s := open(t, url, func(c *Config) { c.AppendTimeout = 3 * time.Second })
	leases := lease(t, s)
	mustAppend(t, s, hook("lane", 0))
	for round := range 3 {
		if err := s.Warm(t.Context()); err != nil {
			t.Fatal(err)
		}
		proxy.frozen.Store(proxy.number.Load())
		var wait sync.WaitGroup
		for n := range 40 {
			wait.Go(func() {
				if _, err := s.Append(t.Context(), hook("lane", 1+40*round+n)); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wait.Go(func() {
			if held, _, _, err := s.RenewLeases(t.Context(), false); err != nil || len(held) != len(leases) {
				t.Errorf("round %d: holds %d leases, %v", round, len(held), err)
			}
		})
		wait.Wait()
	}
	start := time.Now()
	proxy.frozen.Store(proxy.number.Load())
	s.Close()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
	proxy.frozen.Store(0)
	if n := query[int](t, sqlConn(t, direct), `SELECT count(*) FROM webhook_queue`); n[0] != 121 {
		t.Errorf("%d rows, want 121", n[0])
	}
}
