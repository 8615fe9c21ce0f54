package gate

import (
	"maps"
	"slices"
	"time"

	"sluice/sidecar/internal/lifecycle"
)

// Look is a question to the buffer: what is held in these lanes? It remembers
// which holds had begun when it was asked, so that Apply can tell a fresh
// answer from one that a later hold has overtaken.
type Look struct {
	All   bool     // ask about every lane there is
	Lanes []string // else about these, at least one
	seqs  map[string]uint64
	era   uint64
}

// inconclusive marks a lane with an append under way when the look began.
const inconclusive = ^uint64(0)

// Look returns what has to be asked now, and false when nothing has.
func (g *Gate) Look() (Look, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.state.Replays() {
		return Look{}, false
	}
	k := Look{All: !g.looked, era: g.era, seqs: make(map[string]uint64, len(g.leaves))}
	for lane, l := range g.leaves {
		k.seqs[lane] = l.seq
		if l.holds > 0 {
			k.seqs[lane] = inconclusive
		}
	}
	k.Lanes = slices.Sorted(maps.Keys(g.leaves))
	return k, k.All || len(k.Lanes) > 0
}

// Apply takes the answer: the number of held webhooks of each lane that has
// any. exact says that the numbers are not cut off at a limit. It opens the
// lanes that are empty, opens by force those that do not catch up (and returns
// them), and lets replaying become passing when no leaf is shut.
func (g *Gate) Apply(k Look, backlog map[string]int, exact bool, now time.Time) (forced []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if k.All {
		for lane, n := range backlog {
			if g.leaves[lane] == nil && n > 0 {
				g.leaves[lane] = &leaf{low: -1, moved: make(chan struct{})}
			}
		}
		g.looked = g.looked || k.era == g.era
	}
	for lane, l := range g.leaves {
		seq, asked := k.seqs[lane]
		n, held := backlog[lane]
		if !asked && !held {
			continue // closed after the look began
		}
		if n == 0 && l.holds == 0 && l.seq == seq {
			l.stir()
			delete(g.leaves, lane)
			continue
		}
		l.backlog = n
		if l.seq != seq {
			l.backlog++ // a hold that the look may not have seen
		}
		if g.catchUp(l, exact, now) {
			forced = append(forced, lane)
		}
	}
	if g.state == lifecycle.Replaying && g.looked && !g.sealed && g.holds == 0 && !g.anyShut() {
		g.fire(lifecycle.BacklogEmpty)
	}
	return forced
}

// catchUp notes the leaf's progress and opens it by force when there has been
// none for too long. Only exact counts are progress: a count cut off at a limit
// looks the same however much was delivered.
func (g *Gate) catchUp(l *leaf, exact bool, now time.Time) bool {
	if !exact || l.forced || g.cfg.Order != PerLane {
		return false
	}
	if l.low < 0 || l.backlog < l.low {
		l.low, l.lowAt = l.backlog, now
		return false
	}
	if g.cfg.CatchupLimit <= 0 || now.Sub(l.lowAt) < g.cfg.CatchupLimit {
		return false
	}
	l.forced = true
	l.stir()
	return true
}

func (g *Gate) anyShut() bool {
	if g.cfg.Order == None {
		return false
	}
	for _, l := range g.leaves {
		if !l.forced {
			return true
		}
	}
	return false
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
