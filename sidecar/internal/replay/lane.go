package replay

import (
	"context"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/loop"
)

// lane is the rows of one lane that are in memory. While it is in the map one
// goroutine works on it, so a lane is sequential by construction.
type lane struct {
	name   string
	bucket int
	rows   []*inHand
	// parked says that its head waits for long: only the head is kept, without
	// its body, and the rest is read again after it.
	parked bool
	// before are suspects of the lane that have to be tried again: unless the row
	// that is at the app meanwhile is accepted, which makes them bad webhooks.
	before []*inHand
	cancel context.CancelFunc // ends the lane, but not a try that is under way
}

// skipped reports whether nothing of the lane need be claimed.
func (l *lane) skipped() bool { return l.parked || len(l.rows) > laneAhead/2 }

// inHand is a claimed row until its outcome is recorded or it is forgotten.
type inHand struct {
	row   buffer.Row
	bytes int // of its body in memory

	// Of one that the app has refused for good.
	attempt      int
	reason       string
	suspectSince time.Time
}

// enqueue takes claimed rows in hand, each behind the others of its lane, and
// returns how many. seen is what filter returned: rows of a lane of which some
// have been forgotten since may be behind those, so they are read again.
func (r *Replay) enqueue(period context.Context, rows []buffer.Row, seen int) (taken int) {
	var begun []string
	defer func() {
		for _, name := range begun {
			r.Gate.Reached(name)
		}
	}()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range rows {
		name, bucket := rows[i].Webhook.Lane, rows[i].Bucket
		if r.forgotten[name] > seen || r.leaving[bucket] || period.Err() != nil {
			continue
		}
		h := &inHand{row: rows[i], bytes: len(rows[i].Webhook.Body)}
		r.hand[h.row.QueueID] = h
		r.bytes += h.bytes
		taken++
		l := r.lanes[name]
		if l == nil {
			ctx, cancel := context.WithCancel(period)
			l = &lane{name: name, bucket: bucket, cancel: cancel}
			r.lanes[name] = l
			begun = append(begun, name)
			r.work.Go(func() { r.run(ctx, l) })
		}
		l.rows = append(l.rows, h)
	}
	for name, at := range r.forgotten {
		if at <= seen { // claims are one at a time: no older one is under way
			delete(r.forgotten, name)
		}
	}
	return taken
}

// step is how a lane goes on after its head was worked on.
type step int

const (
	next  step = iota // the head is done with
	retry             // the head is to be tried again
	leave             // nothing can be done at present
)

// run delivers a lane's rows one after another until there are none, or until
// the lane is cancelled: then the rest is forgotten.
func (r *Replay) run(ctx context.Context, l *lane) {
	defer l.cancel()
	for {
		r.mu.Lock()
		if len(l.rows) == 0 || ctx.Err() != nil {
			r.end(l)
			r.mu.Unlock()
			return
		}
		h, left := l.rows[0], len(l.rows)-1
		r.mu.Unlock()
		if left == laneAhead/2 {
			loop.Poke(r.kick) // the next rows come while these go
		}
		s := r.deliver(ctx, l, h, left == 0)
		r.mu.Lock()
		switch {
		case s == leave || len(l.before) > 0:
			if s == next {
				l.rows = l.rows[1:]
			}
			r.end(l)
			r.mu.Unlock()
			return
		case s == next:
			l.rows, l.parked = l.rows[1:], false
		}
		r.mu.Unlock()
	}
}

// end takes a lane out of memory, with what is left of it. The caller holds the
// lock.
func (r *Replay) end(l *lane) {
	delete(r.lanes, l.name)
	r.forget(append(l.before, l.rows...))
	l.before, l.rows = nil, nil
	loop.Poke(r.kick) // there may be more of it
}

// forget drops rows in hand that were neither delivered nor given up. They will be
// claimed again, and nothing behind them goes out before that. The caller holds the
// lock.
func (r *Replay) forget(rows []*inHand) {
	for _, h := range rows {
		r.drop(h)
		r.forgets++
		r.forgotten[h.row.Webhook.Lane] = r.forgets
	}
}

func (r *Replay) drop(h *inHand) {
	if _, ok := r.hand[h.row.QueueID]; ok {
		delete(r.hand, h.row.QueueID)
		r.bytes -= h.bytes
	}
}

// takeBack lets suspects be tried again, each before the rest of its lane. The
// caller holds the lock.
func (r *Replay) takeBack(suspects []*inHand) {
	for _, h := range suspects {
		l := r.lanes[h.row.Webhook.Lane]
		if l == nil {
			r.forget([]*inHand{h})
			continue
		}
		l.before = append(l.before, h)
		l.cancel()
	}
}

// park keeps only the place of a lane's head in memory: the rest would take room
// from lanes that can be delivered.
func (r *Replay) park(l *lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.parked = true
	h := l.rows[0]
	if h.row.Webhook.Body != nil && h.row.BodySize > 0 {
		h.row.Webhook.Body = nil // loaded again for its try
		r.bytes -= h.bytes
		h.bytes = 0
	}
	r.forget(l.rows[1:])
	l.rows = l.rows[:1:1]
	// Also what is being claimed just now would come behind the head for nothing.
	r.forgets++
	r.forgotten[l.name] = r.forgets
	loop.Poke(r.kick)
}
