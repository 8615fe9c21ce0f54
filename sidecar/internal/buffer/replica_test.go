package buffer

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	"sluice/infra/postgres"
)

func renew(tb testing.TB, s *Store) ([]Lease, []int) {
	tb.Helper()
	held, excess, err := s.RenewLeases(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return held, excess
}

func TestFairShare(t *testing.T) {
	url := postgres.New(t)
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
	if _, err := stores[0].Beat(t.Context(), "holding", 0); err != nil {
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

// Whatever the leases look like, rounds of renewing and releasing settle on
// shares that differ by one at most, and no bucket is left free.
func TestShareSettles(t *testing.T) {
	for n := 1; n <= 20; n++ {
		for start := range 5 {
			able := make([]uuid.UUID, n)
			for i := range able {
				able[i] = uuid.New()
			}
			leases := make([]leaseRow, buckets)
			for b := range leases {
				leases[b] = leaseRow{bucket: int16(b), free: true}
				if i := (b * start * 7) % (n + 1); start > 0 && i < n { // the rest is free
					leases[b] = leaseRow{bucket: int16(b), holder: pgtype.UUID{Bytes: able[i%(1+n/start)%n], Valid: true}}
				}
			}
			quiet := 0
			for range 40 {
				quiet++
				for _, me := range able {
					want, excess := share(me, leases, able)
					for _, l := range want {
						if l.free {
							quiet = 0
						}
						leases[l.bucket] = leaseRow{bucket: l.bucket, holder: pgtype.UUID{Bytes: me, Valid: true}}
					}
					for _, b := range excess {
						quiet = 0
						leases[b] = leaseRow{bucket: int16(b), free: true}
					}
				}
			}
			count := map[uuid.UUID]int{}
			for _, l := range leases {
				if l.free {
					t.Errorf("%d replicas, start %d: bucket %d is free", n, start, l.bucket)
				}
				count[l.holder.Bytes]++
			}
			low, high := buckets, 0
			for _, id := range able {
				low, high = min(low, count[id]), max(high, count[id])
			}
			if quiet == 0 || high-max(low, buckets/n) > 1 || low < buckets/n {
				t.Errorf("%d replicas, start %d: from %d to %d buckets, quiet %d", n, start, low, high, quiet)
			}
		}
	}
}

func TestPeers(t *testing.T) {
	url := postgres.New(t)
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
	if _, err := b.Beat(t.Context(), "draining", 7); err != nil {
		t.Fatal(err)
	}
	beat := func() []Peer {
		peers, err := a.Beat(t.Context(), "passing", b.Seq())
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
	if _, err := b.Beat(t.Context(), "passing", 0); err != nil {
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
	url := postgres.New(t)
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
	if len(leases) != buckets {
		t.Fatalf("holds %d buckets", len(leases))
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

func TestLeaveReturnsClaims(t *testing.T) {
	url := postgres.New(t)
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
	if got := claim(t, heir, leases, ClaimFilter{}); len(leases) != buckets || len(got) != 2 {
		t.Errorf("the heir holds %d buckets and claimed %v", len(leases), ids(got))
	}
}

func TestRetain(t *testing.T) {
	url := postgres.New(t)
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
