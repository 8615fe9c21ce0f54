package wire

import "time"

// rateWindow is the time over which BODY_MIN_RATE is measured, and in which a
// body need not come at any rate yet: packets that are lost and sent again are
// no slow sender.
const rateWindow = 10 * time.Second

// pace ends the reading of a body that takes too long or comes too slowly. Every
// stretch of rateWindow has to bring what BODY_MIN_RATE wants of it, whatever
// came before: a sender that stops in the middle of a large body keeps its
// memory no longer than one that never began.
type pace struct {
	conn  deadliner
	rate  int64     // bytes a second, 0 for any
	end   time.Time // by BODY_TIMEOUT
	since time.Time // when the present stretch began
	bytes int64     // what it has brought
}

type deadliner interface{ SetReadDeadline(time.Time) error }

func newPace(conn deadliner, rate int64, end time.Time) pace {
	return pace{conn: conn, rate: rate, end: end}
}

// begin starts the first stretch.
func (p *pace) begin() {
	p.since, p.bytes = time.Now(), 0
	p.limit()
}

// begun reports whether it has set a deadline.
func (p *pace) begun() bool { return !p.since.IsZero() }

// limit sets the deadline of reads to the end of the present stretch.
func (p *pace) limit() {
	until := p.end
	if stretch := p.since.Add(rateWindow); p.rate > 0 && stretch.Before(until) {
		until = stretch
	}
	_ = p.conn.SetReadDeadline(until) // fails on a closed connection only, which the read tells
}

// arrived notes bytes, and begins a new stretch when the present one has brought
// enough.
func (p *pace) arrived(n int64) {
	p.bytes += n
	if p.rate == 0 || p.bytes < p.rate*int64(rateWindow/time.Second) {
		return
	}
	// A deadline has its price: once a second is enough.
	if now := time.Now(); now.Sub(p.since) >= time.Second {
		p.since, p.bytes = now, 0
		p.limit()
	}
}
