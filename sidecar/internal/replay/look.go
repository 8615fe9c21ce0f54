package replay

import (
	"context"
	"time"
)

const (
	lookEvery   = 100 * time.Millisecond // while a lane is shut
	lookPause   = 5 * time.Millisecond   // between two looks at the least
	lookLimit   = 256                    // rows counted of a lane: enough to tell few from many
	censusEvery = 5 * time.Second        // exact counts, for CATCHUP_LIMIT
	censusLimit = 10_000_000
)

// lookLoop asks the buffer what is held in the lanes that are shut and lets the
// gate open those that are empty.
func (r *Replay) lookLoop(ctx context.Context) {
	var away, census time.Time
	for tick(ctx, lookEvery, r.look) {
		k, ask := r.Gate.Look()
		if !ask {
			away = time.Time{}
			continue
		}
		exact := time.Since(census) >= censusEvery
		limit := lookLimit
		if exact {
			limit, census = censusLimit, time.Now()
		}
		var backlog map[string]int
		var err error
		began := time.Now()
		if k.All {
			backlog, err = r.Store.ActiveLanes(ctx, limit)
		} else {
			backlog, err = r.Store.Backlog(ctx, k.Lanes, limit)
		}
		if err != nil {
			away = r.blind(away, began, err)
			continue
		}
		away = time.Time{}
		if r.Gate.Blind(false) {
			r.Log.Info("PostgreSQL is back, held webhooks go first again")
		}
		for _, lane := range r.Gate.Apply(k, backlog, exact, time.Now()) {
			r.Metrics.Forced.Inc()
			r.Log.Warn("Lane opened with a backlog, which has not shrunk for CATCHUP_LIMIT; the rest is replayed beside live traffic", "lane", lane)
		}
		tick(ctx, lookPause, nil)
	}
}

// blind lets lanes of unknown backlog through once the database has been away
// for long enough: availability goes before the order across an outage.
func (r *Replay) blind(away, began time.Time, err error) time.Time {
	if away.IsZero() {
		r.Log.Warn("The queue can't be looked at, webhooks are not forwarded until it can", "err", err)
		away = began
	}
	if time.Since(away) >= r.Config.BlindAfter && r.Gate.Blind(true) {
		r.Log.Error("PostgreSQL unreachable, webhooks are forwarded without regard to what may be held; nothing can be held", "err", err)
	}
	return away
}
