// Package gate decides, for every webhook, whether it is forwarded, held or
// refused.
//
// It owns the replica's state, the number of webhooks in flight, and what is known
// of each lane that has something held, all under one lock. It alone changes the
// state (through lifecycle.Next). It must never wait, and never talk to the app or
// to the database. ingress asks for a verdict and reports how it ended, replay
// tells the gate what the queue holds (see look.go), supervise fires events.
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

// Gate decides for one replica. All its methods are safe for concurrent use.
type Gate struct {
	cfg Config

	mu       sync.Mutex
	state    lifecycle.State
	lanes    map[string]*laneState // lanes that have, or may have, something held
	soon     *list.List            // those of them that may be empty now; asked about first
	rest     *list.List            // the others; the one at the front was asked about longest ago
	awaited  map[*laneState]bool   // those that a request waits for
	forced   int                   // those that CATCHUP_LIMIT has opened
	turn     time.Time             // when replay last worked on any lane
	inFlight int                   // forwards under way
	holds    int                   // appends under way
	looked   bool                  // lanes has every lane with a backlog; until then all lanes are shut
	era      uint64                // counts how often others may have written unseen; a look of an earlier era is void
	blind    bool                  // the database is away: lanes of unknown backlog pass
	sealed   bool                  // Strict: another replica lives, everything goes through the queue
	permit   time.Time             // Strict: until then this replica may acknowledge
}

// laneState is what the gate knows of one lane, from its first hold until a look
// finds it empty. A lane without one is open.
type laneState struct {
	lane    string
	at      *list.Element // in soon or rest
	in      *list.List
	holds   int           // appends under way
	seq     uint64        // counts the holds begun
	backlog int           // rows at the last look
	seen    int           // the part of backlog that a look counted
	cut     bool          // the count stopped at its limit: there may be more
	perRow  time.Duration // how long one delivery takes, as replay last saw it
	forced  bool          // opened by CATCHUP_LIMIT
	low     int           // the smallest exact backlog since the lane was shut, -1 before the first
	worked  bool          // replay has worked on it since then, here or at another replica
	still   time.Time     // since when there has been no progress: low was seen, or replay came to the lane
	moved   chan struct{} // closed when the lane opens; nil while nobody waits for that
}

// New returns a gate in the state starting.
func New(cfg Config) *Gate {
	if cfg.Changed == nil {
		cfg.Changed = func(lifecycle.State, lifecycle.State) {}
	}
	return &Gate{cfg: cfg, lanes: map[string]*laneState{}, soon: list.New(), rest: list.New(), awaited: map[*laneState]bool{}}
}

// State returns the current state.
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
		if l := g.lanes[lane]; l != nil && l.nearlyOpen() {
			return Wait, g.await(l)
		}
	}
	g.beginHold(lane)
	return Hold, nil
}

// open reports whether the lane is open, given that the state forwards.
func (g *Gate) open(lane string) bool {
	switch {
	case g.cfg.Order == None:
		return true
	case g.sealed:
		return false
	}
	if l := g.lanes[lane]; l != nil {
		// While the database is away a lane is shut only by what is known to be
		// stored. A hold that failed was not acknowledged: nothing can overtake it.
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
	l := g.lanes[lane]
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

// Kept ends a hold whose webhook is stored. It returns false when the webhook must
// still not be acknowledged: under Strict another replica may have taken this one
// for dead.
func (g *Gate) Kept(lane string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.endHold(lane).backlog++
	return g.permitted()
}

// Dropped ends a hold whose webhook could not be stored. The lane stays shut
// until a look finds it empty: the outcome of a commit may be unknown.
func (g *Gate) Dropped(lane string) {
	g.mu.Lock()
	g.endHold(lane)
	g.mu.Unlock()
}

func (g *Gate) endHold(lane string) *laneState {
	l := g.lanes[lane] // never nil: a lane with a hold under way is not removed
	l.holds--
	g.holds--
	return l
}

// Counts are the gate's counts at one moment.
type Counts struct {
	InFlight int // forwards under way
	Holds    int // appends under way
	Shut     int // lanes that are shut
	Forced   int // lanes opened by CATCHUP_LIMIT
}

// Counts returns the current counts.
func (g *Gate) Counts() Counts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Counts{InFlight: g.inFlight, Holds: g.holds, Shut: len(g.lanes) - g.forced, Forced: g.forced}
}

// nearlyOpen reports whether the few rows left will be delivered within half of
// the time that a request may wait.
func (l *laneState) nearlyOpen() bool {
	perRow := l.perRow
	if perRow == 0 {
		perRow = 10 * time.Millisecond
	}
	return !l.cut && time.Duration(l.backlog+l.holds)*perRow <= 250*time.Millisecond
}
