package gate

import "container/list"

// shut begins the state of a lane that has none, which shuts the lane.
func (g *Gate) shut(lane string) *laneState {
	l := &laneState{lane: lane, low: -1, in: g.rest}
	l.at = g.rest.PushBack(l)
	g.lanes[lane] = l
	return l
}

// remove opens a lane: nothing of it is held.
func (g *Gate) remove(l *laneState) {
	g.stir(l)
	if l.forced {
		g.forced--
	}
	l.in.Remove(l.at)
	delete(g.lanes, l.lane)
}

func (g *Gate) force(l *laneState) {
	l.forced = true
	g.forced++
	g.stir(l)
}

// put moves the lane to the end of a list.
func (l *laneState) put(in *list.List) {
	l.in.Remove(l.at)
	l.in, l.at = in, in.PushBack(l)
}

// await returns a channel that is closed when the lane opens or the replica's state
// changes, and has the next look ask about the lane.
func (g *Gate) await(l *laneState) <-chan struct{} {
	if l.moved == nil {
		l.moved = make(chan struct{})
		g.awaited[l] = true
	}
	if l.in != g.soon {
		l.put(g.soon)
	}
	return l.moved
}

// stir wakes the requests that wait for the lane.
func (g *Gate) stir(l *laneState) {
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
	if l := g.lanes[lane]; l != nil && l.in != g.soon {
		l.put(g.soon)
	}
}

// next picks up to limit lanes to ask about: those that may be empty now and, when
// all is set, others as well, which get at least a quarter.
func (g *Gate) next(limit int, all bool) []*laneState {
	others := 0
	if all {
		others = min(g.rest.Len(), max(limit/4, limit-g.soon.Len()))
	}
	first := min(g.soon.Len(), limit-others)
	lanes := make([]*laneState, 0, first+others)
	for range others { // before the first ones join their list
		lanes = append(lanes, g.rest.Front().Value.(*laneState))
		g.rest.MoveToBack(g.rest.Front())
	}
	for range first {
		l := g.soon.Front().Value.(*laneState)
		l.put(g.rest)
		lanes = append(lanes, l)
	}
	return lanes
}
