package buffer

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice/infra/testkit"
)

func renew(tb testing.TB, s *Store) ([]Lease, []int) {
	tb.Helper()
	held, excess, _, err := s.RenewLeases(tb.Context(), false)
	if err != nil {
		tb.Fatal(err)
	}
	return held, excess
}

func TestFairShare(t *testing.T) {
	url := testkit.Database(t)
	var stores []*Store
	counts := func() []int {
		var out []int
		for round := range 4 { // what one hands over the others take in the next round
			out = nil
			for _, s := range stores {
				held, excess := renew(t, s)
				if err := s.ReleaseLeases(t.Context(), excess); err != nil {
					t.Fatal(err)
				}
				if round == 3 && len(excess) > 0 {
					t.Errorf("round %d: still gives away %v of %d", round, excess, len(held))
				}
				out = append(out, len(held)-len(excess))
			}
		}
		slices.Sort(out)
		return out
	}
	for _, want := range [][]int{{16}, {8, 8}, {5, 5, 6}, {4, 4, 4, 4}} {
		s := open(t, url)
		if err := s.Join(t.Context(), "replaying"); err != nil {
			t.Fatal(err)
		}
		stores = append(stores, s)
		if got := counts(); !slices.Equal(got, want) {
			t.Errorf("%d replicas hold %v, want %v", len(stores), got, want)
		}
	}
	if err := stores[0].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	stores = stores[1:]
	if got := counts(); !slices.Equal(got, []int{5, 5, 6}) {
		t.Errorf("after one left: %v", got)
	}
	// One that holds webhooks needs no bucket; who replays takes them over.
	if _, _, err := stores[0].Beat(t.Context(), Presence{State: "holding", SeenSeq: 0}); err != nil {
		t.Fatal(err)
	}
	if err := stores[0].ReleaseLeases(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	stores = stores[1:]
	if got := counts(); !slices.Equal(got, []int{8, 8}) {
		t.Errorf("beside one that holds: %v", got)
	}
}

// The lease of a bucket with a row that its holder can't open goes to the replica
// that can, and is anybody's again when no such row is left.
func TestNeedKey(t *testing.T) {
	url := testkit.Database(t)
	withKey := func(c *Config) { c.Keys = [][]byte{slices.Repeat([]byte{7}, 32)} }
	plain, sealed, db := open(t, url), open(t, url, withKey), sqlConn(t, url)
	leases := lease(t, plain)
	mustAppend(t, sealed, hook("lane", 1))
	mustAppend(t, plain, hook("lane", 2))
	rows := claim(t, plain, leases, ClaimFilter{})
	if len(rows) != 2 || rows[0].Locked == "" || rows[0].Err != nil || rows[1].Locked != "" {
		t.Fatalf("rows %+v", rows)
	}
	bucket := slices.IndexFunc(leases, func(l Lease) bool { return l.Bucket == rows[0].Bucket })
	if err := plain.NeedKey(t.Context(), leases[bucket], rows[0].Locked); err != nil {
		t.Fatal(err)
	}
	if _, excess := renew(t, plain); len(excess) != 0 {
		t.Errorf("gives away %v though nobody has the key", excess)
	}
	if err := sealed.Join(t.Context(), "passing"); err != nil {
		t.Fatal(err)
	}
	var holds []Lease
	for range 4 {
		_, excess := renew(t, plain)
		if err := plain.ReleaseLeases(t.Context(), excess); err != nil {
			t.Fatal(err)
		}
		holds, _ = renew(t, sealed)
	}
	if !slices.ContainsFunc(holds, func(l Lease) bool { return l.Bucket == rows[0].Bucket }) || len(holds) != 8 && len(holds) != 9 {
		t.Fatalf("who has the key holds %+v, not bucket %d", holds, rows[0].Bucket)
	}
	got := claim(t, sealed, holds, ClaimFilter{})
	if len(got) != 2 || got[0].Err != nil || got[0].Locked != "" {
		t.Fatalf("rows %+v", got)
	}
	settle(t, sealed, Outcome{QueueID: got[0].QueueID, Epoch: got[0].Epoch, Result: Completed, Attempt: 1})
	renew(t, sealed)
	if n := query[int](t, db, `SELECT count(*) FROM webhook_leases WHERE key_id IS NOT NULL`)[0]; n != 0 {
		t.Errorf("%d buckets still need a key", n)
	}
}

// A sequence number is visible before a higher one is drawn: a replica that joins
// while another's number is drawn and not yet committed waits for it, and then
// sees it.
func TestJoinsAreVisibleInOrder(t *testing.T) {
	url := testkit.Database(t)
	a, b := open(t, url), open(t, url)
	for _, s := range []*Store{a, b} {
		if err := s.Join(t.Context(), "passing"); err != nil {
			t.Fatal(err)
		}
	}
	db, blocker := sqlConn(t, url), sqlConn(t, url)
	exec(t, blocker, `BEGIN`)
	exec(t, blocker, `SELECT 1 FROM webhook_replicas WHERE id = $1 FOR UPDATE`, a.instance)
	joined := make(chan error, 2)
	waiting := func(n int) {
		testkit.Eventually(t, "joins wait", func() bool {
			return query[int](t, db, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'`)[0] == n
		})
	}
	go func() { joined <- a.Join(t.Context(), "passing") }()
	waiting(1) // its number is drawn
	go func() { joined <- b.Join(t.Context(), "passing") }()
	waiting(2)
	exec(t, blocker, `COMMIT`)
	for range 2 {
		if err := <-joined; err != nil {
			t.Fatal(err)
		}
	}
	if a.Seq() >= b.Seq() {
		t.Errorf("numbers %d and %d: the later one came first", a.Seq(), b.Seq())
	}
}

// The gap between two heartbeats is the database's: one that was on its way for
// long tells of it, though the replica sent it in time.
func TestBeatTellsTheGap(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	if err := s.Join(t.Context(), "passing"); err != nil {
		t.Fatal(err)
	}
	if _, gap, err := s.Beat(t.Context(), Presence{State: "passing"}); err != nil || gap <= 0 || gap > time.Minute {
		t.Fatalf("gap after joining %v, %v", gap, err)
	}
	locker := sqlConn(t, url) // within a transaction pg_stat_activity stands still
	exec(t, locker, `BEGIN; LOCK webhook_replicas IN SHARE MODE`)
	gaps := make(chan time.Duration)
	sent := time.Now()
	go func() {
		_, gap, err := s.Beat(t.Context(), Presence{State: "passing"})
		if err != nil {
			t.Error(err)
		}
		gaps <- gap
	}()
	testkit.Eventually(t, "the heartbeat waits", func() bool {
		return query[int](t, db, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'`)[0] > 0 &&
			time.Since(sent) > 200*time.Millisecond
	})
	exec(t, locker, `COMMIT`)
	if gap := <-gaps; gap < 200*time.Millisecond {
		t.Errorf("gap %v of a heartbeat that waited for 200 ms", gap)
	}
}

func TestPeers(t *testing.T) {
	url := testkit.Database(t)
	named := func(name string, strict bool) *Store {
		return open(t, url, func(c *Config) { c.Name, c.Strict = name, strict })
	}
	a, b, db := named("a", false), named("b", true), sqlConn(t, url)
	for _, s := range []*Store{a, b} {
		if err := s.Join(t.Context(), "starting"); err != nil {
			t.Fatal(err)
		}
	}
	if a.Seq() == 0 || b.Seq() <= a.Seq() {
		t.Errorf("sequence numbers %d, %d", a.Seq(), b.Seq())
	}
	if _, _, err := b.Beat(t.Context(), Presence{State: "draining", SeenSeq: 7}); err != nil {
		t.Fatal(err)
	}
	beat := func() []Peer {
		peers, _, err := a.Beat(t.Context(), Presence{State: "passing", SeenSeq: b.Seq()})
		if err != nil {
			t.Fatal(err)
		}
		return peers
	}
	peers := beat()
	if len(peers) != 1 {
		t.Fatalf("peers %+v", peers)
	}
	p := peers[0]
	if p.Instance != b.instance.String() || p.Name != "b" || p.State != "draining" || !p.Strict || p.Seq != b.Seq() || p.SeenSeq != 7 || p.Age < 0 || p.Age > time.Minute {
		t.Errorf("peer %+v", p)
	}
	awaited, err := b.AppendAwaited(t.Context(), hook("lane", 1))
	if err != nil {
		t.Fatal(err)
	}
	exec(t, db, `UPDATE webhook_replicas SET seen_at = seen_at - interval '20 s' WHERE id = $1`, b.instance)
	// a was silent itself, so it cannot tell who is dead.
	a.lastBeat.Store(1)
	a.opened = a.opened.Add(-time.Minute)
	if peers := beat(); len(peers) != 1 {
		t.Errorf("after a silence of its own it sees %+v", peers)
	}
	if got := status(t, db, awaited.QueueID); got != "processing" {
		t.Errorf("judged after a silence: the row is %s", got)
	}
	a.noJudge.Store(0)
	if peers := beat(); len(peers) != 0 {
		t.Errorf("a dead replica is a peer: %+v", peers)
	}
	if got := status(t, db, awaited.QueueID); got != "pending" {
		t.Errorf("what a dead replica awaited is %s", got)
	}
	if _, _, err := b.Beat(t.Context(), Presence{State: "passing", SeenSeq: 0}); err != nil {
		t.Fatal(err)
	}
	if peers := beat(); len(peers) != 1 || peers[0].State != "passing" {
		t.Errorf("back from the dead: %+v", peers)
	}
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if peers := beat(); len(peers) != 0 {
		t.Errorf("who left is a peer: %+v", peers)
	}
}

// A process that restarted under the same name takes over at once.
func TestPredecessor(t *testing.T) {
	url := testkit.Database(t)
	named := func(c *Config) { c.Name = "replica-1" }
	old, young, db := open(t, url, named), open(t, url, named), sqlConn(t, url)
	leases := lease(t, old)
	inHand := mustAppend(t, old, hook("lane", 1))
	claim(t, old, leases, ClaimFilter{})
	awaited, err := old.AppendAwaited(t.Context(), hook("lane", 2))
	if err != nil {
		t.Fatal(err)
	}
	leases = lease(t, young)
	if len(leases) != buckets || !leases[0].Lapsed {
		t.Fatalf("holds %d buckets, lapsed %v", len(leases), leases[0].Lapsed)
	}
	got := claim(t, young, leases, ClaimFilter{})
	if !slices.Equal(ids(got), []int64{inHand.QueueID, awaited.QueueID}) {
		t.Errorf("claimed %v", ids(got))
	}
	if state := query[string](t, db, `SELECT state FROM webhook_replicas WHERE id = $1`, old.instance); state[0] != "dead" {
		t.Errorf("the predecessor is %s", state[0])
	}
	// Should it live after all and join again, it does not displace the younger.
	before := old.Seq()
	if err := old.Join(t.Context(), "passing"); err != nil || old.Seq() <= before {
		t.Errorf("joined again with number %d after %d, %v", old.Seq(), before, err)
	}
	if held, _ := renew(t, young); len(held) != buckets {
		t.Errorf("after the predecessor joined again the younger holds %d buckets", len(held))
	}
}

func TestLeave(t *testing.T) {
	url := testkit.Database(t)
	s, heir, db := open(t, url), open(t, url), sqlConn(t, url)
	leases := lease(t, s)
	mustAppend(t, s, hook("lane", 1))
	if _, err := s.AppendAwaited(t.Context(), hook("lane2", 2)); err != nil {
		t.Fatal(err)
	}
	claim(t, s, leases, ClaimFilter{})
	if err := s.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query[string](t, db, `SELECT concat_ws(' ', status, attempts) FROM webhook_queue ORDER BY id`); !slices.Equal(got, []string{"pending 0", "pending 1"}) {
		t.Errorf("rows %q", got)
	}
	leases = lease(t, heir)
	if leases[0].Lapsed {
		t.Error("released leases have lapsed")
	}
	if got := claim(t, heir, leases, ClaimFilter{}); len(leases) != buckets || len(got) != 2 {
		t.Errorf("the heir holds %d buckets and claimed %v", len(leases), ids(got))
	}
}

func TestRetain(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	exec(t, db, `INSERT INTO webhook_queue (sluice_id, source, lane, bucket, headers, body, status, queued_at, processed_at)
		SELECT gen_random_uuid(), 's', 'l', 0, 'h', 'b',
			CASE WHEN n % 10 = 0 THEN 'failed' WHEN n % 10 = 1 THEN 'pending' ELSE 'completed' END,
			clock_timestamp() - make_interval(hours => 300 - n / 10),
			clock_timestamp() - make_interval(hours => 300 - n / 10) FROM generate_series(0, 2999) AS n`)
	n, err := s.Retain(t.Context(), 168*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if left := query[int](t, db, `SELECT count(*) FROM webhook_queue WHERE status = 'completed' AND processed_at < clock_timestamp() - interval '168 h'`); left[0] != 0 {
		t.Errorf("%d old rows left", left[0])
	}
	// Hours 0 to 131 of 300 are 168 h old or older; 8 rows of each 10 are completed.
	if want := int64(133 * 8); n < want-8 || n > want+8 {
		t.Errorf("deleted %d, want about %d", n, want)
	}
	if got := query[string](t, db, `SELECT status || count(*) FROM webhook_queue WHERE status IN ('failed', 'pending') GROUP BY status ORDER BY 1`); fmt.Sprint(got) != "[failed300 pending300]" {
		t.Errorf("left %v", got)
	}
}
