package wire

import "time"

// rateWindow is the time over which BODY_MIN_RATE is measured. Within it a body
// may stall: lost packets that are sent again do not make a slow sender.
const rateWindow = 10 * time.Second

// pace ends the reading of a body that takes too long or arrives too slowly. Every
// window must bring as many bytes as BODY_MIN_RATE demands, whatever came before:
// a sender that stops in the middle of a large body keeps its memory no longer
// than one that never began.
type pace struct {
	conn  deadliner
	rate  int64     // bytes a second, 0 for any
	end   time.Time // by BODY_TIMEOUT
	since time.Time // when the current window began
	bytes int64     // what has arrived in it
}

type deadliner interface{ SetReadDeadline(time.Time) error }

func newPace(conn deadliner, rate int64, end time.Time) pace {
	return pace{conn: conn, rate: rate, end: end}
}

// begin starts the first window.
func (p *pace) begin() {
	p.since, p.bytes = time.Now(), 0
	p.limit()
}

// begun reports whether it has set a deadline.
func (p *pace) begun() bool { return !p.since.IsZero() }

// limit sets the deadline of reads to the end of the current window.
func (p *pace) limit() {
	until := p.end
	if window := p.since.Add(rateWindow); p.rate > 0 && window.Before(until) {
		until = window
	}
	_ = p.conn.SetReadDeadline(until) // fails only on a closed connection; the read reports it
}

// arrived counts n bytes, and begins a new window when the current one has brought
// enough.
func (p *pace) arrived(n int64) {
	p.bytes += n
	if p.rate == 0 || p.bytes < p.rate*int64(rateWindow/time.Second) {
		return
	}
	// Setting a deadline is not free: once a second is enough.
	if now := time.Now(); now.Sub(p.since) >= time.Second {
		p.since, p.bytes = now, 0
		p.limit()
	}
}
