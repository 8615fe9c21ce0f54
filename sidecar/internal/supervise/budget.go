package supervise

import "time"

// The times of a shutdown when the grace period is long enough. In a shorter one
// each is a share of it.
const (
	quietFor   = 5 * time.Second        // since the last request or SIGTERM, before the listener closes
	refusedFor = time.Second            // the app's port, before the app is taken to be gone
	lookEvery  = 100 * time.Millisecond // whether the drain is over
	reserve    = 5 * time.Second        // for the closing steps, to the SIGKILL
	lastMoment = 500 * time.Millisecond // before the SIGKILL the process has ended
)

// budget divides the grace period, the time from SIGTERM to SIGKILL.
type budget struct {
	drain time.Time // until when the drain is waited for
	end   time.Time // when the process ends, whatever is left to do

	quiet, refused, look time.Duration // quietFor, refusedFor and lookEvery of this grace
}

func newBudget(told time.Time, grace time.Duration) budget {
	b := budget{
		drain:   told.Add(grace - min(reserve, grace/2)),
		end:     told.Add(grace - min(lastMoment, grace/5)),
		refused: min(refusedFor, grace/10),
		look:    min(lookEvery, grace/50),
	}
	if grace >= quietFor { // of less, nothing is left to wait for late senders
		b.quiet = min(quietFor, grace/6)
	}
	return b
}

// The closing steps, and by when each is done at the latest, as a share of the
// time for all: what a step leaves is the next one's.
const (
	listenersBy = 0.50 // requests under way may have to be stored
	loopsBy     = 0.80 // deliveries under way, and the record of their outcomes
	answersBy   = 0.88 // late ones
	leaveBy     = 0.97
	storeBy     = 1.00
	heedShare   = 0.80 // of a step's time, after which its context ends and it finishes
	cutOffHalf  = 0.50 // of the loops' time, after which deliveries are cut off
)

// closing returns the time by which a step ends, of a closing that begins now.
func (b budget) closing(now time.Time) func(share float64) time.Time {
	span := min(b.end.Sub(b.drain), b.end.Sub(now))
	return func(share float64) time.Time { return now.Add(part(span, share)) }
}

func part(d time.Duration, share float64) time.Duration { return time.Duration(share * float64(d)) }
