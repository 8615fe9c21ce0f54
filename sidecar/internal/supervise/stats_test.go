package supervise

import (
	"encoding/json"
	"log/slog"
	"testing"

	"sluice/sidecar/internal/gate"
)

// One line tells a minute: what was counted since the last line, and the gauges as they are.
func TestStatsTellAMinute(t *testing.T) {
	r, log := replica(t, nobody, gate.PerLane)
	r.log = slog.New(slog.NewJSONHandler(log, nil))
	count := func(source, outcome string, n float64) { r.metrics.Webhooks.WithLabelValues(source, outcome).Add(n) }
	count("github", "forwarded", 10)
	before := r.tally()
	count("github", "forwarded", 3)
	count("slack", "held", 2)
	count("slack", "late", 1)
	count("slack", "refused", 4)
	count("github", "rejected", 5)
	r.logStats(r.tally().since(before), 7)
	var line struct {
		Msg, State, App                           string
		Database                                  bool
		Held, Failed, Forwarded, Stored, Replayed int64
		Refused, Rejected                         int64
		OldestSeconds                             int64            `json:"oldest_seconds"`
		RefusedBySource                           map[string]int64 `json:"refused_by_source"`
		RejectedBySource                          map[string]int64 `json:"rejected_by_source"`
	}
	if err := json.Unmarshal([]byte(log.String()), &line); err != nil {
		t.Fatal(err)
	}
	if line.Msg != "Stats" || line.State != "starting" || line.Forwarded != 3 || line.Stored != 3 || line.Replayed != 7 ||
		line.Refused != 4 || line.Rejected != 5 || line.RefusedBySource["slack"] != 4 || len(line.RejectedBySource) != 1 {
		t.Errorf("the line is %+v", line)
	}
}
