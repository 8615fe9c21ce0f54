package supervise

import (
	"context"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/loop"
)

// counted is the result of the last count of the queue.
type counted struct {
	stats    buffer.Stats
	at       time.Time     // when the count began
	took     time.Duration // by itself
	flow     buffer.Flow   // of this replica, when the count began
	inserted int64         // by all replicas, when the count began
}

const (
	countShare  = 20          // a count takes this part of the time at most, and
	closeShare  = 4           // this one when a limit may be reached
	countWithin = time.Minute // of the last one, whatever it takes
	countLimit  = 5 * time.Minute
)

// countLoop counts what is held: every second where that is cheap, and more rarely
// the longer it takes. In between the replica adds what it stores and takes off
// what it delivers, so its own webhooks exceed no limit. It does not know of those
// of other replicas: when so many have been inserted since the count that a limit
// may be reached, it counts again soon. A count that fails says nothing about the
// database, and what was counted before stays.
func (r *Replica) countLoop(ctx context.Context) {
	for wait := time.Duration(0); loop.Tick(ctx, wait, nil); wait = vitalsEvery {
		if !r.joined.Load() || !r.countDue(ctx) {
			continue
		}
		if err := r.count(ctx); err != nil && ctx.Err() == nil && r.vitals.Load().database {
			r.log.Warn("Held webhooks can't be counted, retrying", "err", err)
		}
	}
}

func (r *Replica) countDue(ctx context.Context) bool {
	c := r.counted.Load()
	since := time.Since(c.at) - c.took
	switch {
	case since >= min(countShare*c.took, countWithin):
		return true
	case since < closeShare*c.took:
		return false
	}
	n, err := r.store.Inserted(ctx)
	return err == nil && r.mayBeFull(c, n-c.inserted)
}

// mayBeFull reports whether a limit is reached if none of so many rows was a copy,
// and none of what was there has been delivered.
func (r *Replica) mayBeFull(c *counted, inserted int64) bool {
	rows := c.stats.Pending + c.stats.Processing
	mean := c.stats.Bytes / max(rows, 1)
	return rows+inserted >= r.cfg.HoldMaxRows || c.stats.Bytes+inserted*mean >= r.cfg.HoldMaxBytes ||
		c.stats.UnverifiedBytes+inserted*mean >= r.cfg.HoldMaxUnverifiedBytes
}

func (r *Replica) count(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, countLimit)
	defer cancel()
	c := &counted{at: time.Now(), flow: r.store.Flow()}
	var err error
	if countShare*r.counted.Load().took > vitalsEvery { // else the next count comes as soon as it may
		if c.inserted, err = r.store.Inserted(ctx); err != nil {
			return err
		}
	}
	if c.stats, err = r.store.Stats(ctx); err != nil {
		return err
	}
	c.took = time.Since(c.at)
	r.counted.Store(c)
	r.metrics.Held.WithLabelValues("pending").Set(float64(c.stats.Pending))
	r.metrics.Held.WithLabelValues("processing").Set(float64(c.stats.Processing))
	r.metrics.Held.WithLabelValues("failed").Set(float64(c.stats.Failed))
	return nil
}

// held is what is held by the last count and what this replica has done since: of
// the bytes that it took off it knows the mean only.
func (c *counted) held(now buffer.Flow) (rows, bytes, unverified int64) {
	rows = c.stats.Pending + c.stats.Processing + now.Rows - c.flow.Rows
	bytes = c.stats.Bytes + now.Bytes - c.flow.Bytes
	unverified = c.stats.UnverifiedBytes + now.UnverifiedBytes - c.flow.UnverifiedBytes
	ended := min(now.Ended-c.flow.Ended, rows)
	if ended <= 0 {
		return rows, bytes, unverified
	}
	left := float64(rows-ended) / float64(rows)
	return rows - ended, int64(left * float64(bytes)), int64(left * float64(unverified))
}
