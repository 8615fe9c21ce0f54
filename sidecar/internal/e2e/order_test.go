package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/infra/testkit"
)

// alternate posts numbered webhooks on a lane to the replicas in turn, each after
// the one before it was acknowledged. What is refused is sent again.
func (l *ledger) alternate(replicas []*sidecar, lane string, from int, more func(int) bool) (next int) {
	n := from
	for i := 0; more(n); i++ {
		got := replicas[i%len(replicas)].post("/hooks/x", numbered(lane, n))
		if got.err != nil || got.status == 503 {
			l.mu.Lock()
			l.again[fmt.Sprint(lane, "/", n)] = true
			l.mu.Unlock()
			continue
		}
		l.note(lane, n, got)
		n++
	}
	return n
}

// ORDER=strict: with two replicas side by side, the order of a lane holds across
// both.
func TestStrictOrderAcrossReplicas(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	// The old one must not end while the senders go on.
	strict := env{"ORDER": "strict", "TERMINATION_GRACE_SECONDS": "600"}
	one := passing(t, db, a, strict)
	l := newLedger()
	l.alternate([]*sidecar{one}, "lane0", 0, upTo(5))
	// If the machine stalls for seconds, its heartbeat is late and it holds for
	// a while.
	testkit.Eventually(t, "a replica that is alone forwards", func() bool { return !one.post("/hooks/alone", numbered("alone", 0)).held() })
	two := started(t, db, a, strict)
	testkit.Eventually(t, "both know of each other", func() bool { return one.status().Sealed && two.status().Sealed })
	var sending sync.WaitGroup
	var over atomic.Bool
	replicas := []*sidecar{one, two}
	ends := make([]int, 3)
	for i := range ends {
		sending.Go(func() {
			ends[i] = l.alternate(replicas, fmt.Sprint("lane", i), 5, func(int) bool { return !over.Load() })
		})
	}
	testkit.Eventually(t, "hundreds are acknowledged", func() bool { return l.total() > 300 })
	// The old one ends while the senders go on.
	one.Signal(syscall.SIGTERM)
	testkit.Eventually(t, "it drains", func() bool { return one.status().State == "draining" })
	n := l.total()
	testkit.Eventually(t, "more are acknowledged", func() bool { return l.total() > n+100 })
	over.Store(true)
	sending.Wait()
	if duplicates := l.check(t, a); duplicates > 0 {
		t.Errorf("%d came twice", duplicates)
	}
	one.Kill()
	// Alone again, the other one forwards.
	two.waitState("passing")
	testkit.Eventually(t, "it passes", func() bool {
		got := two.post("/hooks/x", numbered("alone", 0))
		return got.acknowledged() && !got.held()
	})
}

// A strict replica that has lost sight of the database acknowledges nothing.
func TestStrictOrderWithoutDatabase(t *testing.T) {
	t.Parallel()
	server, db := ownServer(t)
	a := runningApp(t)
	s := passing(t, db, a, env{"ORDER": "strict", "HOLD_TIMEOUT": "1500ms"})
	testkit.Eventually(t, "it passes", func() bool { return s.post("/hooks/x", "{}").status == 200 })
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it refuses", func() bool { return s.post("/hooks/x", "{}").status == 503 })
	throughout(t, 7*time.Second, "it goes on refusing", func() bool { return s.post("/hooks/x", "{}").status == 503 })
	if got := s.probe("/readyz"); got != 503 {
		t.Errorf("/readyz: %d", got)
	}
	restart(t, server)
	testkit.Eventually(t, "it passes again", func() bool { return s.post("/hooks/x", "{}").status == 200 })
}

// ORDER=none: lanes open when the app is healthy, while held webhooks are replayed.
func TestOrderNone(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"ORDER": "none"})
	a.stop()
	hold(t, s, 1, 60)
	release := make(chan struct{})
	a.does(func(_ http.ResponseWriter, _ *http.Request, d delivery) int {
		if d.replayed == "true" {
			<-release
		}
		return 200
	})
	a.start()
	s.waitState("passing")
	s.mustPass("/hooks/x", numbered("lane0", 60))
	if got := a.accepted(); len(got) != 1 || got[0].replayed != "false" {
		t.Errorf("%d came before the live one", len(got)-1)
	}
	close(release)
	a.waitAccepted(61)
	testkit.Eventually(t, "nothing is left", func() bool { return db.active() == 0 })
}

// A lane whose backlog does not shrink for CATCHUP_LIMIT opens anyway, and shuts
// again when a webhook of it is held.
func TestCatchupLimit(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"CATCHUP_LIMIT": "100ms", "REPLAY_MAX_ATTEMPTS": "100000"})
	a.stop()
	s.mustHold("/hooks/x", numbered("a", 0))
	var hopeless atomic.Bool
	hopeless.Store(true)
	a.does(func(_ http.ResponseWriter, _ *http.Request, d delivery) int {
		if _, n := d.number(); n == 0 && hopeless.Load() {
			return 500
		}
		return 200
	})
	a.start()
	testkit.Eventually(t, "the lane opens with its backlog", func() bool {
		got := s.post("/hooks/x", numbered("a", 1))
		return got.acknowledged() && !got.held()
	})
	s.WaitRecords(1, "Lane opened with a backlog, which has not shrunk for CATCHUP_LIMIT; the rest is replayed beside live traffic")
	hopeless.Store(false)
	testkit.Eventually(t, "the rest is replayed", func() bool { return db.active() == 0 })
}

// Two replicas of one revision share the lanes and deliver each webhook once.
func TestReplicasShareReplay(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	a, b := runningApp(t), runningApp(t)
	one, two := passing(t, db, a), passing(t, db, b)
	a.stop()
	b.stop()
	const lanes, each = 24, 20
	l := newLedger()
	var sending sync.WaitGroup
	for i := range lanes {
		sending.Go(func() { l.alternate([]*sidecar{one, two}, fmt.Sprint("lane", i), 0, upTo(each)) })
	}
	sending.Wait()
	slow := func(http.ResponseWriter, *http.Request, delivery) int {
		<-time.After(10 * time.Millisecond)
		return 200
	}
	a.does(slow)
	b.does(slow)
	a.start()
	b.start()
	testkit.Eventually(t, "all are delivered", func() bool { return len(a.accepted())+len(b.accepted()) >= lanes*each && db.active() == 0 })
	seen := map[string]int{}
	last := map[string]int{}
	for _, d := range append(a.accepted(), b.accepted()...) {
		seen[d.id]++
	}
	if len(seen) != lanes*each {
		t.Errorf("LOST: %d of %d webhooks delivered", len(seen), lanes*each)
	}
	for id, n := range seen {
		if n > 1 {
			t.Errorf("%s was delivered %d times", id, n)
		}
	}
	// A lane may move from one replica to the other, so the deliveries of both are
	// sorted by time.
	all := append(a.accepted(), b.accepted()...)
	sortByTime(all)
	for _, d := range all {
		lane, n := d.number()
		if n < last[lane] {
			t.Errorf("OUT OF ORDER: lane %s: %d after %d", lane, n, last[lane])
		}
		last[lane] = n
	}
	t.Logf("%d by one, %d by the other", len(a.accepted()), len(b.accepted()))
}
