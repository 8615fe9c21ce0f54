package gate

import (
	"time"

	"sluice/sidecar/internal/lifecycle"
)

// Look is a question to the buffer: what is held in these lanes? It remembers
// which holds had begun when it was asked, so that Apply can tell a fresh
// answer from one that a later hold has overtaken.
type Look struct {
	All   bool     // ask about every lane there is, page by page
	Lanes []string // else about these, at least one
	seqs  map[string]uint64
	era   uint64
}

// inconclusive marks a lane with an append under way when the look began.
const inconclusive = ^uint64(0)

// Look returns what to ask the buffer now, or false for nothing: up to limit lanes
// that may be empty and, with others set, some of the rest as well. Each look goes
// on where the last one ended, so the lock is never held for more than limit lanes,
// however many there are.
func (g *Gate) Look(limit int, others bool) (Look, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !g.state.Replays():
		return Look{}, false
	case !g.looked:
		return Look{All: true, era: g.era}, true
	}
	lanes := g.next(limit, others)
	k := Look{era: g.era, Lanes: make([]string, len(lanes)), seqs: make(map[string]uint64, len(lanes))}
	for i, l := range lanes {
		k.Lanes[i], k.seqs[l.lane] = l.lane, l.seq
		if l.holds > 0 {
			k.seqs[l.lane] = inconclusive
		}
	}
	return k, len(k.Lanes) > 0
}

// Same reports whether both are looks over all lanes of one era, so that pages read
// for k also count for other.
func (k Look) Same(other Look) bool { return k.All && other.All && k.era == other.era }

// Of is the part of a look that asks about one lane.
func (k Look) Of(lane string) Look {
	return Look{Lanes: []string{lane}, seqs: map[string]uint64{lane: k.seqs[lane]}, era: k.era}
}

// Found takes a page of the answer to a look over all lanes: how many webhooks are
// held in each lane that has any. These lanes are shut from now on.
func (g *Gate) Found(backlog map[string]int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for lane, n := range backlog {
		if g.lanes[lane] == nil && n > 0 {
			l := g.shut(lane)
			l.backlog, l.cut = n, true // exact only once it was asked about
		}
	}
}

// Surveyed says that Found has been given every page of the look: all other lanes
// have no backlog.
func (g *Gate) Surveyed(k Look) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.looked = g.looked || k.era == g.era
	g.passIfEmpty()
}

// Apply takes the answer to a look: how many webhooks are held in each lane asked
// about, counted up to limit. It opens the lanes that are empty. It also opens, and
// returns, those that have made no progress for CATCHUP_LIMIT. When no lane is shut
// any more, replaying becomes passing.
func (g *Gate) Apply(k Look, backlog map[string]int, limit int, now time.Time) (forced []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for lane, seq := range k.seqs {
		l, n := g.lanes[lane], backlog[lane]
		if l == nil {
			continue
		}
		if n == 0 && l.holds == 0 && l.seq == seq {
			g.turn = later(g.turn, now)
			g.remove(l)
			continue
		}
		if n < l.seen && !l.cut {
			g.worked(l, now)
		}
		l.backlog, l.seen, l.cut = n, n, n >= limit
		if l.seq != seq {
			l.backlog++ // a hold that the look may not have seen
		}
		if g.catchUp(l, now) {
			forced = append(forced, lane)
		}
	}
	g.passIfEmpty()
	return forced
}

func (g *Gate) passIfEmpty() {
	shut := g.cfg.Order != None && len(g.lanes) > g.forced
	if g.state == lifecycle.Replaying && g.looked && !g.sealed && g.holds == 0 && !shut {
		g.fire(lifecycle.BacklogEmpty)
	}
}

// CatchesUp reports whether long lanes must be counted exactly, because each lane's
// progress is judged by its count.
func (g *Gate) CatchesUp() bool { return g.cfg.Order == PerLane && g.cfg.CatchupLimit > 0 }

// catchUp notes the lane's progress, and opens the lane when there has been none
// for CATCHUP_LIMIT. Only exact counts show progress: a count that stopped at its
// limit looks the same however much was delivered. A lane that replay has not yet
// worked on is not judged while replay works on others: with a hundred thousand
// lanes its turn takes a while.
func (g *Gate) catchUp(l *laneState, now time.Time) bool {
	if l.cut || l.forced || g.cfg.Order != PerLane {
		return false
	}
	if l.low < 0 || l.backlog < l.low {
		l.low, l.still, l.worked = l.backlog, now, false
		return false
	}
	since := l.still
	if !l.worked {
		since = later(since, g.turn)
	}
	if g.cfg.CatchupLimit <= 0 || now.Sub(since) < g.cfg.CatchupLimit {
		return false
	}
	g.force(l)
	return true
}

// Reached says that replay is working on a lane.
func (g *Gate) Reached(lane string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.lanes[lane]; l != nil {
		g.worked(l, time.Now())
	}
}

// worked notes that replay works on a lane. What it takes up now is not settled yet,
// so the time without progress begins anew, once.
func (g *Gate) worked(l *laneState, now time.Time) {
	if !l.worked {
		l.worked, l.still = true, later(l.still, now)
	}
	g.turn = later(g.turn, now)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Pace notes how long one delivery of the lane takes, so that Enter knows when
// the lane is about to open.
func (g *Gate) Pace(lane string, took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.lanes[lane]; l != nil {
		l.perRow = (3*l.perRow + took) / 4
	}
}

// Blind says whether the database has been away for so long that lanes whose
// backlog is unknown are let through. Lanes known to have one stay shut, and
// Strict never passes blindly. It returns whether that is a change.
func (g *Gate) Blind(blind bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.blind
	g.blind = blind && g.cfg.Order != Strict
	return g.blind != before
}

// Seal says whether another replica lives beside this one, which under Strict
// sends everything through the queue; permit is the time until which this
// replica may acknowledge without another word from the database.
func (g *Gate) Seal(sealed bool, permit time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !sealed && (g.sealed || !g.permitted()) {
		g.forget() // the rows of another one go first, also of one that came and went unseen
	}
	g.sealed, g.permit = sealed, permit
}

func (g *Gate) permitted() bool {
	return g.cfg.Order != Strict || time.Now().Before(g.permit)
}

// Permitted reports whether this replica may acknowledge at present.
func (g *Gate) Permitted() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.permitted()
}
