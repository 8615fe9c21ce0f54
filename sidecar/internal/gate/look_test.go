package gate

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sidecar/internal/lifecycle"
)

// While a look over all lanes is under way, lanes that it has not come to are shut,
// and so are those in which it has found something until that is delivered.
func TestAnIncompleteLookOpensNothing(t *testing.T) {
	g := New(Config{})
	g.Fire(lifecycle.AppUp)
	k, _ := g.Look(many, true)
	g.Found(map[string]int{"a": 1})
	enter(t, g, "z", Hold)
	g.Dropped("z")
	g.Found(map[string]int{"b": 1})
	if again, _ := g.Look(many, true); !again.Same(k) {
		t.Errorf("the look is %+v, want one that goes on", again)
	}
	g.Surveyed(k)
	for _, lane := range []string{"a", "b", "z"} {
		enter(t, g, lane, Hold)
		g.Dropped(lane)
	}
	enter(t, g, "c", Forward)
	look(g, nil)
	enter(t, g, "a", Forward)
}

// A look asks about no more lanes than it is told to; those that may be empty come
// first, and the others each in turn.
func TestLooksTakeTurns(t *testing.T) {
	g := New(Config{})
	g.Fire(lifecycle.AppUp)
	backlog := map[string]int{}
	for i := range 100 {
		backlog[fmt.Sprint(i)] = 1
	}
	look(g, backlog)
	asked := map[string]int{}
	for range 10 {
		g.Expect("7")
		k, _ := g.Look(12, true)
		if len(k.Lanes) != 12 {
			t.Fatalf("asks about %d lanes, want 12", len(k.Lanes))
		}
		for _, lane := range k.Lanes {
			asked[lane]++
		}
		g.Apply(k, backlog, many, time.Now())
	}
	if len(asked) != 100 || asked["7"] != 10 {
		t.Errorf("%d lanes were asked about, the one that may be empty %d times; want 100 and 10", len(asked), asked["7"])
	}
	g.Expect("3")
	if k, _ := g.Look(12, false); len(k.Lanes) != 1 || k.Lanes[0] != "3" {
		t.Errorf("asks about %v, want 3 alone", k.Lanes)
	}
	if _, ask := g.Look(12, false); ask {
		t.Error("asks, though nothing may be empty")
	}
	for i := range 100 { // a crowd that may be empty leaves the others a part
		if i != 50 {
			g.Expect(fmt.Sprint(i))
		}
	}
	k, _ := g.Look(12, true)
	if !slices.Contains(k.Lanes, "50") || len(k.Lanes) != 12 {
		t.Errorf("asks about %v, want 50 among 12", k.Lanes)
	}
}

// A lane that replay has not worked on yet is not forced open while it comes to
// others; once it has, or comes to nothing else, the limit counts.
func TestALaneWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{CatchupLimit: time.Minute})
		g.Fire(lifecycle.AppUp)
		backlog := map[string]int{"last": 5, "stuck": 5}
		for i := range 10 {
			backlog[fmt.Sprint(i)] = 1
		}
		look(g, backlog)
		forced := map[string]int{}
		for i := range 600 {
			<-time.After(time.Second)
			if i%10 == 0 && i < 100 {
				g.Reached("stuck") // it is tried again and again
			}
			if i%50 == 0 && i < 500 {
				delete(backlog, fmt.Sprint(i/50)) // another replica comes to a lane, and is done with it
			}
			k, _ := g.Look(many, true)
			for _, lane := range g.Apply(k, backlog, many, time.Now()) {
				forced[lane] = i
			}
		}
		if at := forced["stuck"]; at < 58 || at > 61 {
			t.Errorf("the lane that does not shrink opens after %d s, want a minute", at)
		}
		if at := forced["last"]; at < 508 || at > 512 {
			t.Errorf("the lane that nobody came to opens after %d s, want a minute after the last one was come to", at)
		}
		if len(forced) != 2 {
			t.Errorf("forced %v", forced)
		}
	})
}

// The minute of a lane that has waited longer for its turn begins with the turn: a
// look before its first row is settled finds as many as ever.
func TestALanesMinuteBeginsWithItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{CatchupLimit: time.Minute})
		g.Fire(lifecycle.AppUp)
		backlog := map[string]int{"other": 5, "late": 5}
		look(g, backlog)
		apply := func() []string {
			k, _ := g.Look(many, true)
			return g.Apply(k, backlog, many, time.Now())
		}
		apply()
		for range 10 {
			<-time.After(20 * time.Second)
			g.Reached("other")
		}
		for range 7 {
			g.Reached("late") // tried again and again
			if forced := apply(); slices.Contains(forced, "late") {
				t.Fatal("a lane whose turn has just come is forced open")
			}
			<-time.After(8 * time.Second)
		}
		<-time.After(5 * time.Second)
		if forced := apply(); !slices.Contains(forced, "late") {
			t.Error("a lane that is tried for a minute and does not shrink stays shut")
		}
	})
}
