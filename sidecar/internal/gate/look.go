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

// Look returns what has to be asked now, and false when nothing has: of the lanes
// that may be empty up to limit, and with others set, of the rest, too. Each look
// goes on where the last one ended. So the lock is never held for longer than limit
// lanes take, however many there are.
func (g *Gate) Look(limit int, others bool) (Look, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !g.state.Replays():
		return Look{}, false
	case !g.looked:
		return Look{All: true, era: g.era}, true
	}
	leaves := g.next(limit, others)
	k := Look{era: g.era, Lanes: make([]string, len(leaves)), seqs: make(map[string]uint64, len(leaves))}
	for i, l := range leaves {
		k.Lanes[i], k.seqs[l.lane] = l.lane, l.seq
		if l.holds > 0 {
			k.seqs[l.lane] = inconclusive
		}
	}
	return k, len(k.Lanes) > 0
}

// Same reports whether both looks over all lanes were asked for with the same
// right: whether pages that were read for k count for other.
func (k Look) Same(other Look) bool { return k.All && other.All && k.era == other.era }

// Of is the part of a look that asks about one lane.
func (k Look) Of(lane string) Look {
	return Look{Lanes: []string{lane}, seqs: map[string]uint64{lane: k.seqs[lane]}, era: k.era}
}

// Found takes a page of the answer to a look over all lanes: the numbers of held
// webhooks of lanes that have any, which are shut from now on.
func (g *Gate) Found(backlog map[string]int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for lane, n := range backlog {
		if g.leaves[lane] == nil && n > 0 {
			l := g.shut(lane)
			l.backlog, l.cut = n, true // exact only once it was asked about
		}
	}
}

// Surveyed says that Found has had every page of the look: lanes without a leaf
// have no backlog.
func (g *Gate) Surveyed(k Look) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.looked = g.looked || k.era == g.era
	g.passIfEmpty()
}

// Apply takes the answer: the number of held webhooks of each lane asked about that
// has any, counted up to limit. It opens the lanes that are empty, opens by force
// those that do not catch up (and returns them), and lets replaying become passing
// when no leaf is shut.
func (g *Gate) Apply(k Look, backlog map[string]int, limit int, now time.Time) (forced []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for lane, seq := range k.seqs {
		l, n := g.leaves[lane], backlog[lane]
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
	shut := g.cfg.Order != None && len(g.leaves) > g.forced
	if g.state == lifecycle.Replaying && g.looked && !g.sealed && g.holds == 0 && !shut {
		g.fire(lifecycle.BacklogEmpty)
	}
}

// CatchesUp reports whether it matters how many rows a lane has that has many: each
// lane's progress is judged by exact counts.
func (g *Gate) CatchesUp() bool { return g.cfg.Order == PerLane && g.cfg.CatchupLimit > 0 }

// catchUp notes the leaf's progress and opens it by force when there has been
// none for too long. Only exact counts are progress: a count cut off at a limit
// looks the same however much was delivered. A lane that replay has not worked on
// since waits for its turn, as long as replay comes to others: where there are a
// hundred thousand that takes a while.
func (g *Gate) catchUp(l *leaf, now time.Time) bool {
	if l.cut || l.forced || g.cfg.Order != PerLane {
		return false
	}
	if l.low < 0 || l.backlog < l.low {
		l.low, l.lowAt = l.backlog, now
		return false
	}
	since := l.lowAt
	if !l.turn.After(since) {
		since = later(since, g.turn)
	}
	if g.cfg.CatchupLimit <= 0 || now.Sub(since) < g.cfg.CatchupLimit {
		return false
	}
	g.force(l)
	return true
}

// Reached says that replay works on a lane.
func (g *Gate) Reached(lane string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.leaves[lane]; l != nil {
		g.worked(l, time.Now())
	}
}

func (g *Gate) worked(l *leaf, now time.Time) { l.turn, g.turn = now, later(g.turn, now) }

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
	if l := g.leaves[lane]; l != nil {
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
