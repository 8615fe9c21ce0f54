package replay

import (
	"context"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/loop"
)

const (
	lookEvery = 100 * time.Millisecond // while a lane is shut
	lookPause = 5 * time.Millisecond   // between two looks at the least
	lookLanes = 1000                   // asked about in one statement at the most
	lookLeast = 16                     // the same when the database is slow
	lookLimit = 64                     // rows counted of a lane: enough to tell few from many

	// Exact counts of the lanes that have many rows, for CATCHUP_LIMIT.
	countEvery = 5 * time.Second
	countFor   = 250 * time.Millisecond
	countLimit = 10_000_000

	// Looks at lanes of which nothing is known to have ended, and exact counts,
	// take at most this part of the time: their cost grows with the lanes. A look
	// that was slow for another reason pauses for no longer than its lanes may cost,
	// or one slow answer would leave a lane shut that is empty.
	lookShare = 20
	lanePause = 5 * time.Millisecond

	readLimit = time.Second // for the smallest look there is
)

// looking is what the look loop remembers from one look to the next.
type looking struct {
	page int       // lanes asked about in one statement
	away time.Time // when the queue was first found unreadable

	over  gate.Look // the look over all lanes that is under way
	after *buffer.LanePlace

	all     time.Time // when lanes of which nothing is known to have ended may be asked about
	counted time.Time // when exact counts may be made
}

// lookLoop asks the buffer what is held in the lanes that are shut and lets the
// gate open those that are empty.
func (r *Replay) lookLoop(ctx context.Context) {
	l := &looking{page: lookLanes}
	for wait := lookEvery; loop.Tick(ctx, wait, r.look); {
		began := time.Now()
		k, ask := r.Gate.Look(l.page, !began.Before(l.all))
		if !ask {
			l.away, wait = time.Time{}, lookEvery
			continue
		}
		err := r.lookOnce(ctx, l, k, began)
		wait = lookEvery
		if err != nil {
			r.unread(ctx, l, began, err)
			continue
		}
		l.away, l.page = time.Time{}, min(2*l.page, lookLanes)
		if r.Gate.Blind(false) {
			r.Log.Info("PostgreSQL is back, held webhooks go first again")
		}
		if k.All {
			wait = 0 // until it is complete no webhook passes
		}
		loop.Tick(ctx, lookPause, nil)
	}
}

func (r *Replay) lookOnce(ctx context.Context, l *looking, k gate.Look, began time.Time) error {
	if k.All {
		return r.survey(ctx, l, k)
	}
	backlog, err := r.Store.Backlog(ctx, k.Lanes, lookLimit)
	if err != nil {
		return err
	}
	r.forced(r.Gate.Apply(k, backlog, lookLimit, time.Now()))
	if began.Before(l.all) {
		return nil
	}
	if r.Gate.CatchesUp() && !began.Before(l.counted) {
		l.counted = r.countDeep(ctx, k, backlog)
	}
	pause := min(lookShare*time.Since(began), time.Duration(len(k.Lanes))*lanePause)
	l.all = time.Now().Add(max(lookEvery-lookPause, pause))
	return nil
}

// survey reads one page of all lanes that have something held. The pages count
// together when nothing has made the look void since the first.
func (r *Replay) survey(ctx context.Context, l *looking, k gate.Look) error {
	if !k.Same(l.over) {
		l.over, l.after = k, nil
	}
	found, next, err := r.Store.ActiveLanes(ctx, l.after, l.page, lookLimit)
	if err != nil {
		return err
	}
	r.Gate.Found(found)
	if l.after = next; next == nil {
		r.Gate.Surveyed(k)
		l.over, l.all = gate.Look{}, time.Time{}
		loop.Poke(r.look)
	}
	return nil
}

// countDeep counts the rows of lanes that have many, to see whether they become
// fewer: of as many lanes as there is time for. It returns when that may be done
// again. What cannot be counted is taken to shrink: a lane opens only when it is
// known not to.
func (r *Replay) countDeep(ctx context.Context, k gate.Look, backlog map[string]int) (again time.Time) {
	began := time.Now()
	for lane, n := range backlog { // in no order: each comes up in the end
		if n < lookLimit {
			continue
		}
		if exact, err := r.Store.Backlog(ctx, []string{lane}, countLimit); err == nil {
			r.forced(r.Gate.Apply(k.Of(lane), exact, countLimit, time.Now()))
		}
		if time.Since(began) > countFor {
			break
		}
	}
	if len(k.Lanes) < lookLanes {
		return began.Add(countEvery)
	}
	return time.Now() // others' turn is next
}

func (r *Replay) forced(lanes []string) {
	for _, lane := range lanes {
		r.Metrics.Forced.Inc()
		r.Log.Warn("Lane opened with a backlog, which has not shrunk for CATCHUP_LIMIT; the rest is replayed beside live traffic", "lane", lane)
	}
}

// unread decides what a look that failed means. While the smallest one there is
// succeeds the database is not away: the look was too long for a slow one, and
// lanes stay shut until shorter ones have been answered. Else lanes of unknown
// backlog are let through once it has been away for long enough: availability goes
// before the order across an outage.
func (r *Replay) unread(ctx context.Context, l *looking, began time.Time, err error) {
	l.page = max(l.page/4, lookLeast)
	reading, cancel := context.WithTimeout(ctx, readLimit)
	_, failed := r.Store.Backlog(reading, []string{""}, 1)
	cancel()
	if failed == nil {
		l.away = time.Time{}
		r.Log.Warn("The queue is slow to be looked at, webhooks of lanes not looked at are held", "err", err)
		return
	}
	if l.away.IsZero() {
		r.Log.Warn("The queue can't be looked at, webhooks are not forwarded until it can", "err", err)
		l.away = began
	}
	if time.Since(l.away) >= r.Config.BlindAfter && r.Gate.Blind(true) {
		r.Log.Error("PostgreSQL unreachable, webhooks are forwarded without regard to what may be held; nothing can be held", "err", err)
	}
}
