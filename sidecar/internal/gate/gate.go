// Package gate decides, for every webhook, whether it is forwarded, held or
// refused.
//
// It owns the replica's state and the count of what is in flight, under one
// lock, and the leaves of the door: one per lane that has something held. It
// alone changes the state (through lifecycle.Next). It must never wait, talk to
// the app or to the database; whoever holds a verdict reports back how it ended.
// ingress enters, replay looks (see look.go), supervise fires events.
package gate

import (
	"container/list"
	"sync"
	"time"

	"sluice/sidecar/internal/lifecycle"
)

// Verdict is what becomes of a webhook.
type Verdict int

const (
	Refuse  Verdict = iota // answer 503: nothing can be promised
	Forward                // send it on, then Leave or Divert
	Hold                   // store it, then Kept or Dropped
	Wait                   // the lane is about to open: enter again when it has
)

// Order says when a lane opens.
type Order int

const (
	PerLane Order = iota // when its backlog is empty
	Strict               // never with a backlog, nor beside another replica
	None                 // with the app's health
)

// Config are the gate's settings.
type Config struct {
	Order        Order
	CatchupLimit time.Duration // a lane whose backlog has not shrunk for so long opens anyway, unless its turn is to come
	// Changed is told of every transition, under the lock: it must not block.
	Changed func(from, to lifecycle.State)
}

// Gate is the door of one replica. All its methods are safe for concurrent use.
type Gate struct {
	cfg Config

	mu       sync.Mutex
	state    lifecycle.State
	leaves   map[string]*leaf // lanes that have, or may have, something held
	soon     *list.List       // those of them that may be empty now: they are asked about first
	rest     *list.List       // the others, the one that was asked about longest ago in front
	awaited  map[*leaf]bool   // those that a request waits for
	forced   int              // those that are opened by force
	turn     time.Time        // when replay last came to any lane
	inFlight int              // forwards under way
	holds    int              // appends under way
	looked   bool             // every lane with a backlog has a leaf; until then the others are shut, too
	era      uint64           // counts the times that others may have written unseen: an older look is void
	blind    bool             // the database is away: lanes of unknown backlog pass
	sealed   bool             // Strict: another replica lives, everything goes through the queue
	permit   time.Time        // Strict: until then this replica may acknowledge
}

// leaf is the door of one lane, from its first hold until it is seen empty.
type leaf struct {
	lane    string
	at      *list.Element // in soon or rest
	in      *list.List
	holds   int           // appends under way
	seq     uint64        // counts the holds begun
	backlog int           // rows at the last look
	seen    int           // of these, those that were counted
	cut     bool          // and there may be more
	perRow  time.Duration // how long one delivery takes, as replay last saw it
	forced  bool          // opened by the catch-up limit
	turn    time.Time     // when replay last worked on it, here or, by what is seen, at another replica
	low     int           // the smallest exact backlog since the leaf closed, -1 before the first
	lowAt   time.Time     // when it was seen
	moved   chan struct{} // closed when the leaf opens; nil while nobody waits for that
}

// New returns a gate in the state starting.
func New(cfg Config) *Gate {
	if cfg.Changed == nil {
		cfg.Changed = func(lifecycle.State, lifecycle.State) {}
	}
	return &Gate{cfg: cfg, leaves: map[string]*leaf{}, soon: list.New(), rest: list.New(), awaited: map[*leaf]bool{}}
}

// State returns the state of now.
func (g *Gate) State() lifecycle.State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state
}

// Fire applies an event and returns the state after it.
func (g *Gate) Fire(e lifecycle.Event) lifecycle.State {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fire(e)
	return g.state
}

func (g *Gate) fire(e lifecycle.Event) {
	from := g.state
	g.state = lifecycle.Next(from, e)
	if g.state == from {
		return
	}
	if g.state == lifecycle.Replaying {
		g.forget() // other replicas may have written while the app was away
	}
	for l := range g.awaited {
		g.stir(l)
	}
	g.cfg.Changed(from, g.state)
}

// forget says that other replicas may have written what this one does not know
// of. Nothing is forwarded before a look over all lanes that begins after it.
func (g *Gate) forget() {
	g.looked = false
	g.era++
}

// Enter decides about one webhook of a lane. After Forward the caller calls
// Leave or Divert, after Hold it calls Kept or Dropped, each exactly once. After
// Wait the caller may enter again when the returned channel is closed; with
// patient false it never gets Wait.
func (g *Gate) Enter(lane string, patient bool) (Verdict, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.state == lifecycle.Stopped, !g.permitted():
		return Refuse, nil
	case g.state.Replays() && g.open(lane):
		g.inFlight++
		return Forward, nil
	case patient && g.state.Replays() && !g.sealed && g.looked:
		if l := g.leaves[lane]; l != nil && l.nearlyOpen() {
			return Wait, g.await(l)
		}
	}
	g.beginHold(lane)
	return Hold, nil
}

// open reports whether the lane's leaf is open, given that the state forwards.
func (g *Gate) open(lane string) bool {
	switch {
	case g.cfg.Order == None:
		return true
	case g.sealed:
		return false
	}
	if l := g.leaves[lane]; l != nil {
		// Blind, a leaf is shut for what is known to be stored. A hold that
		// came to nothing was not acknowledged: nothing can overtake it.
		return l.forced || g.blind && l.backlog+l.holds == 0
	}
	return g.looked || g.blind
}

// Leave ends a forward that was answered.
func (g *Gate) Leave() {
	g.mu.Lock()
	g.inFlight--
	g.mu.Unlock()
}

// Join counts a request that is no webhook as in flight; Leave ends it. It
// returns false while nothing may be forwarded to the app.
func (g *Gate) Join() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.state.Replays() && g.state != lifecycle.Draining && g.state != lifecycle.Paused {
		return false
	}
	g.inFlight++
	return true
}

// Divert turns a forward that failed into a hold, in one step, so that no later
// webhook of the lane can be forwarded between the two.
func (g *Gate) Divert(lane string) {
	g.mu.Lock()
	g.inFlight--
	g.beginHold(lane)
	g.mu.Unlock()
}

// HoldBeside begins a hold for a forward that goes on: the app has not answered
// within the sender's budget. The caller calls Kept or Dropped for the hold and
// Leave when the forward ends.
func (g *Gate) HoldBeside(lane string) {
	g.mu.Lock()
	g.beginHold(lane)
	g.mu.Unlock()
}

func (g *Gate) beginHold(lane string) {
	l := g.leaves[lane]
	if l == nil {
		l = g.shut(lane)
	}
	if l.forced {
		l.forced, l.low = false, -1
		g.forced--
	}
	l.holds++
	l.seq++
	g.holds++
}

// Kept ends a hold whose webhook is stored. It returns false when it must not
// be acknowledged all the same, because under Strict another replica may have
// taken this one for dead.
func (g *Gate) Kept(lane string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.endHold(lane).backlog++
	return g.permitted()
}

// Dropped ends a hold whose webhook could not be stored. The leaf stays until a
// look has seen the lane empty: the outcome of a commit may be unknown.
func (g *Gate) Dropped(lane string) {
	g.mu.Lock()
	g.endHold(lane)
	g.mu.Unlock()
}

func (g *Gate) endHold(lane string) *leaf {
	l := g.leaves[lane] // there is one: a leaf with a hold is never removed
	l.holds--
	g.holds--
	return l
}

// Counts are the gate's figures of one moment.
type Counts struct {
	InFlight int // forwards under way
	Holds    int // appends under way
	Shut     int // lanes whose leaf is shut
	Forced   int // lanes opened by the catch-up limit
}

// Counts returns the figures of now.
func (g *Gate) Counts() Counts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Counts{InFlight: g.inFlight, Holds: g.holds, Shut: len(g.leaves) - g.forced, Forced: g.forced}
}

// nearlyOpen reports whether the few rows left will be delivered within half of
// the time that a request may wait.
func (l *leaf) nearlyOpen() bool {
	perRow := l.perRow
	if perRow == 0 {
		perRow = 10 * time.Millisecond
	}
	return !l.cut && time.Duration(l.backlog+l.holds)*perRow <= 250*time.Millisecond
}
