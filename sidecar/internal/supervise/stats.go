package supervise

import (
	"context"
	"time"

	"sluice/sidecar/internal/loop"
)

const statsEvery = time.Minute

// tally counts webhooks by source and outcome since the replica began.
type tally map[[2]string]float64

// statsLoop logs one line a minute, for a platform on which nobody scrapes
// /metrics: alerts and the workbook read it (bicep/queries).
func (r *Replica) statsLoop(ctx context.Context) {
	before, replayed := r.tally(), int64(0)
	for loop.Tick(ctx, statsEvery, nil) {
		now, delivered := r.tally(), r.replay.Delivered()
		r.logStats(now.since(before), delivered-replayed)
		before, replayed = now, delivered
	}
}

// logStats writes the line: counters cover the last minute, gauges are current.
func (r *Replica) logStats(minute tally, replayed int64) {
	st := r.Status()
	r.log.Info("Stats", "state", st.State, "app", st.App, "database", r.vitals.Load().database,
		"held", st.Held, "failed", st.Failed, "oldest_seconds", int64(st.OldestSecs),
		"forwarded", minute.sum("forwarded"), "stored", minute.sum("held")+minute.sum("late"), "replayed", replayed,
		"refused", minute.sum("refused"), "rejected", minute.sum("rejected"),
		"refused_by_source", minute.bySource("refused"), "rejected_by_source", minute.bySource("rejected"))
}

// tally reads the counters of package metrics.
func (r *Replica) tally() tally {
	t := tally{}
	families, err := r.metrics.Registry.Gather()
	if err != nil {
		return t // a collector that fails: the others' figures come next minute
	}
	for _, f := range families {
		if f.GetName() != "sluice_webhooks_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			var key [2]string
			for _, l := range m.GetLabel() {
				switch l.GetName() {
				case "source":
					key[0] = l.GetValue()
				case "outcome":
					key[1] = l.GetValue()
				}
			}
			t[key] += m.GetCounter().GetValue()
		}
	}
	return t
}

func (t tally) since(before tally) tally {
	d := tally{}
	for key, n := range t {
		d[key] = n - before[key]
	}
	return d
}

func (t tally) sum(outcome string) int64 {
	var n int64
	for _, of := range t.bySource(outcome) {
		n += of
	}
	return n
}

func (t tally) bySource(outcome string) map[string]int64 {
	counts := map[string]int64{}
	for key, n := range t {
		if key[1] == outcome && n > 0 {
			counts[key[0]] += int64(n)
		}
	}
	return counts
}
