package supervise

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"sluice/infra/testkit"
	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/gate"
)

// The replica under test has the number 5.
func TestStanding(t *testing.T) {
	began := time.Unix(1000, 0)
	const recent, lapsed = lapsedAfter, lapsedAfter + time.Millisecond
	older := func(seen int64) buffer.Peer { return buffer.Peer{Strict: true, Seq: 3, SeenSeq: seen, Age: recent} }
	for name, c := range map[string]struct {
		peers     []buffer.Peer
		beside    bool
		permitted bool
		seen      int64
	}{
		"alone":                         {nil, false, true, 0},
		"an older one that knows":       {[]buffer.Peer{older(5)}, true, true, 3},
		"an older one that knows later": {[]buffer.Peer{older(9)}, true, true, 3},
		"an older one that does not":    {[]buffer.Peer{older(4)}, true, false, 3},
		"one of two does not":           {[]buffer.Peer{older(5), {Strict: true, Seq: 4, Age: recent}}, true, false, 4},
		"the other way round":           {[]buffer.Peer{{Strict: true, Seq: 4, Age: recent}, older(5)}, true, false, 4},
		"a younger one":                 {[]buffer.Peer{{Strict: true, Seq: 6, Age: recent}}, true, true, 6},
		"one that has lapsed":           {[]buffer.Peer{{Strict: true, Seq: 3, Age: lapsed}}, false, true, 0},
		"one that is not strict":        {[]buffer.Peer{{Seq: 3, Age: recent}}, true, true, 3}, // it never says what it has seen
	} {
		beside, permit, seen := standing(c.peers, 5, began)
		if beside != c.beside || seen != c.seen {
			t.Errorf("%s: beside=%v, seen %d, want %v and %d", name, beside, seen, c.beside, c.seen)
		}
		if want := began.Add(permitFor); c.permitted && !permit.Equal(want) || !c.permitted && !permit.IsZero() {
			t.Errorf("%s: permitted until %s, want permitted=%v", name, permit, c.permitted)
		}
	}
}

// A replica stops acknowledging before the others take it for gone, also when
// its last heartbeat took its time on the way.
func TestPermitEndsBeforeItsHolderIsGone(t *testing.T) {
	if permitFor >= silentAfter || silentAfter >= lapsedAfter || strictBeatEvery*4 > permitFor {
		t.Errorf("permit %s, silent after %s, gone after %s, a heartbeat every %s", permitFor, silentAfter, lapsedAfter, strictBeatEvery)
	}
}

func TestSilent(t *testing.T) {
	for _, c := range []struct {
		gap, took time.Duration
		want      bool
	}{
		{0, strictBeatEvery, false},
		{strictBeatEvery, strictBeatEvery, false},
		{silentAfter, silentAfter, false},
		{silentAfter + 1, strictBeatEvery, true}, // delayed on the way, or this machine stood still
		{strictBeatEvery, silentAfter + 1, true}, // the others saw it late
		{-1, strictBeatEvery, true},              // another server, or its clock was set
	} {
		if got := silent(c.gap, c.took); got != c.want {
			t.Errorf("gap %s, took %s: silent=%v, want %v", c.gap, c.took, got, c.want)
		}
	}
}

// member returns a replica with ORDER=strict whose membership lives, and what
// ends that and gives back what it has in the database.
func member(t *testing.T, database string) (r *Replica, leave func()) {
	t.Helper()
	r, _ = replica(t, nobody, gate.Strict)
	var err error
	r.store, err = buffer.Open(t.Context(), buffer.Config{URL: database, Instance: uuid.NewString(), Strict: true, Log: r.log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r.loops.start("membership", func() { r.membershipLoop(ctx) })
	leave = func() {
		if !r.close(stop, newBudget(time.Now(), patience).closing(time.Now())) {
			t.Error("the membership did not end")
		}
	}
	return r, leave
}

// Alone a replica may acknowledge; beside another one everything is queued, and
// again nothing is when that has left.
func TestMembership(t *testing.T) {
	database := testkit.Database(t)
	await := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !ok(); <-time.After(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("it has not come about that %s", what)
			}
		}
	}
	first, firstLeaves := member(t, database)
	await("the first one may acknowledge", first.gate.Permitted)
	if first.sealed.Load() || !first.joined.Load() {
		t.Errorf("alone: sealed=%v, joined=%v", first.sealed.Load(), first.joined.Load())
	}
	second, secondLeaves := member(t, database)
	await("both queue everything and may acknowledge", func() bool {
		return first.sealed.Load() && second.sealed.Load() && first.gate.Permitted() && second.gate.Permitted()
	})
	firstLeaves()
	await("the second one is alone", func() bool { return !second.sealed.Load() && second.gate.Permitted() })
	secondLeaves()
}
