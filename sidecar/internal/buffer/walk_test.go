package buffer

import (
	"fmt"
	"slices"
	"testing"

	"sluice/infra/testkit"
)

// Claims that settle nothing and keep everything in hand come to each row of many
// lanes once, each lane's from its lowest id, in as many claims as the rows need.
func TestClaimsWalkOverAllLanes(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	const lanes, each = 900, 3
	fill(t, db, "lane", lanes*each, lanes, []byte("{}"))
	leases := lease(t, s)
	var inHand []int64
	last := map[string]int64{}
	claims := 0
	for more := true; more && claims < 100; claims++ {
		var rows []Row
		var err error
		rows, more, err = s.Claim(t.Context(), leases, ClaimFilter{InHand: inHand, Limit: 256, PerLane: 16})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.QueueID <= last[r.Webhook.Lane] {
				t.Errorf("lane %s: row %d after %d", r.Webhook.Lane, r.QueueID, last[r.Webhook.Lane])
			}
			last[r.Webhook.Lane] = r.QueueID
			inHand = append(inHand, r.QueueID)
		}
		more = more && len(inHand) < lanes*each
	}
	slices.Sort(inHand)
	if n := len(slices.Compact(inHand)); n != lanes*each || len(last) != lanes || claims > 15 {
		t.Errorf("%d claims: %d rows of %d lanes, want %d of %d", claims, n, len(last), lanes*each, lanes)
	}
}

// A row that commits late, or is made pending again, is found at its lane's next
// turn, before those behind it that nobody has in hand.
func TestAWalkFindsLateRows(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	fill(t, db, "lane", 1200, 600, []byte("{}"))
	exec(t, db, `UPDATE webhook_queue SET status = 'failed' WHERE id % 7 = 0`) // they come back
	leases := lease(t, s)
	first := map[string]int64{}
	for round := range 12 {
		rows, _, err := s.Claim(t.Context(), leases, ClaimFilter{Limit: 256, PerLane: 1})
		if err != nil {
			t.Fatal(err)
		}
		if round == 2 {
			exec(t, db, `UPDATE webhook_queue SET status = 'pending' WHERE status = 'failed'`)
		}
		if round < 6 {
			continue
		}
		for _, r := range rows { // none is in hand, so each turn begins with the lowest
			first[r.Webhook.Lane] = r.QueueID
		}
	}
	for _, row := range query[string](t, db, `SELECT lane || ' ' || min(id) FROM webhook_queue GROUP BY lane`) {
		var lane string
		var id int64
		if _, err := fmt.Sscan(row, &lane, &id); err != nil {
			t.Fatal(err)
		}
		if first[lane] != id {
			t.Errorf("lane %s begins with %d, want %d", lane, first[lane], id)
		}
	}
}

// No bucket waits for the end of another one's crowd, and a large body takes no
// more than its turn.
func TestEachBucketHasItsTurn(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	fill(t, db, "crowd", 3000, 3000, []byte("{}"))
	small := "small"
	_, bucket := laneKey(small)
	exec(t, db, `DELETE FROM webhook_queue WHERE bucket = $1`, bucket)
	leases := lease(t, s)
	for range 5 { // into the middle of the crowd
		if _, _, err := s.Claim(t.Context(), leases, ClaimFilter{Limit: 256, PerLane: 16}); err != nil {
			t.Fatal(err)
		}
	}
	want := mustAppend(t, s, hook(small, 1)).QueueID
	if got := ids(claim(t, s, leases, ClaimFilter{Limit: 256, PerLane: 16})); !slices.Contains(got, want) {
		t.Error("the row of a bucket of its own is not in the next claim")
	}
	turns := map[int]int{}
	for range 3 * buckets { // each claim has room for one body
		for _, r := range claim(t, s, leases, ClaimFilter{Limit: 256, MaxBytes: 1}) {
			turns[r.Bucket]++
		}
	}
	for b := range buckets {
		if turns[b] == 0 {
			t.Errorf("bucket %d had no turn: %v", b, turns)
		}
	}
}

// Lanes to be skipped are walked past, however many there are.
func TestAWalkPassesSkippedLanes(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	const parked = 4000
	fill(t, db, "parked", 2*parked, parked, []byte("{}"))
	var skip []string
	for i := range parked {
		skip = append(skip, fmt.Sprint("parked", i))
	}
	leases := lease(t, s)
	want := mustAppend(t, s, hook("zlane", 1)).QueueID
	for claims := 1; ; claims++ {
		rows, more, err := s.Claim(t.Context(), leases, ClaimFilter{SkipLanes: skip, Limit: 256, PerLane: 16})
		if err != nil {
			t.Fatal(err)
		}
		if got := ids(rows); slices.Equal(got, []int64{want}) {
			break
		} else if len(got) > 0 {
			t.Fatalf("claimed %v", got)
		}
		if !more || claims > 10 {
			t.Fatalf("not found in %d claims, more is %v", claims, more)
		}
	}
}

// Pages of lanes together are all of them, each once.
func TestActiveLanesPages(t *testing.T) {
	url := testkit.Database(t)
	s, db := open(t, url), sqlConn(t, url)
	const lanes = 250
	fill(t, db, "lane", 3*lanes, lanes, []byte("{}"))
	for _, page := range []int{1000, 250, 249, 100, 7} {
		got := map[string]int{}
		pages := 0
		for at, first := (*LanePlace)(nil), true; first || at != nil; first = false {
			counts, next, err := s.ActiveLanes(t.Context(), at, page, 2)
			if err != nil {
				t.Fatal(err)
			}
			for lane, n := range counts {
				got[lane] += n
			}
			at = next
			pages++
		}
		for lane, n := range got {
			if n != 2 {
				t.Errorf("pages of %d: %s is counted as %d, want 2", page, lane, n)
			}
		}
		if len(got) != lanes || pages < lanes/page || pages > lanes/page+1 {
			t.Errorf("pages of %d: %d lanes on %d pages", page, len(got), pages)
		}
	}
}
