package gate

import "container/list"

// shut makes a leaf for a lane that has none.
func (g *Gate) shut(lane string) *leaf {
	l := &leaf{lane: lane, low: -1, in: g.rest}
	l.at = g.rest.PushBack(l)
	g.leaves[lane] = l
	return l
}

// remove opens a lane for good.
func (g *Gate) remove(l *leaf) {
	g.stir(l)
	if l.forced {
		g.forced--
	}
	l.in.Remove(l.at)
	delete(g.leaves, l.lane)
}

func (g *Gate) force(l *leaf) {
	l.forced = true
	g.forced++
	g.stir(l)
}

// put moves a leaf to the end of a list.
func (l *leaf) put(in *list.List) {
	l.in.Remove(l.at)
	l.in, l.at = in, in.PushBack(l)
}

// await returns what is closed when the leaf opens or the state changes, and has
// the next look ask about it.
func (g *Gate) await(l *leaf) <-chan struct{} {
	if l.moved == nil {
		l.moved = make(chan struct{})
		g.awaited[l] = true
	}
	if l.in != g.soon {
		l.put(g.soon)
	}
	return l.moved
}

// stir wakes whoever waits for the leaf.
func (g *Gate) stir(l *leaf) {
	if l.moved != nil {
		close(l.moved)
		l.moved = nil
		delete(g.awaited, l)
	}
}

// Expect says that a lane may be empty now: the next look asks about it.
func (g *Gate) Expect(lane string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.leaves[lane]; l != nil && l.in != g.soon {
		l.put(g.soon)
	}
}

// next takes up to limit leaves to ask about: those that may be empty now, and
// where all is set others beside them, which have a quarter at least.
func (g *Gate) next(limit int, all bool) []*leaf {
	others := 0
	if all {
		others = min(g.rest.Len(), max(limit/4, limit-g.soon.Len()))
	}
	first := min(g.soon.Len(), limit-others)
	leaves := make([]*leaf, 0, first+others)
	for range others { // before the first ones join their list
		leaves = append(leaves, g.rest.Front().Value.(*leaf))
		g.rest.MoveToBack(g.rest.Front())
	}
	for range first {
		l := g.soon.Front().Value.(*leaf)
		l.put(g.rest)
		leaves = append(leaves, l)
	}
	return leaves
}
