package chaos

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/infra/rehearsal/timeline"
	"sluice/infra/rehearsal/verdict"
)

// Report is the result of a run.
type Report struct {
	Seed     uint64            `json:"seed"`
	Start    time.Time         `json:"start"`
	Took     time.Duration     `json:"took_ns"`
	Sending  time.Duration     `json:"sending_ns"`
	Settings map[string]string `json:"settings"`

	Verdict *verdict.Verdict `json:"verdict"`
	// Problems are what went wrong other than single webhooks.
	Problems []string `json:"problems"`
	Stories  []Story  `json:"stories"`

	Steps      map[string]int   `json:"steps"` // by kind
	Faults     []verdict.Fault  `json:"faults"`
	Overloaded int              `json:"breathless"` // faults that were not planned: the machine was overloaded
	Failed     int              `json:"failed_rows"`
	Final      int              `json:"final_answers"` // webhooks that an app refused for good
	Forced     int              `json:"forced_lanes"`
	Memory     Size             `json:"memory_bytes"`
	Goroutines Size             `json:"goroutines"`
	Events     []timeline.Event `json:"events"`
	Logs       string           `json:"logs,omitempty"` // the directory, where it was kept
}

// Good reports whether the run found nothing.
func (r *Report) Good() bool { return r.Verdict.Good() && len(r.Problems) == 0 }

// Summary is the run on one line.
func Summary(r *Report) string {
	v, word := r.Verdict, "ok"
	if !r.Good() {
		word = "FAILED"
	}
	return fmt.Sprintf("%s chaos %s seed %d: acknowledged %d (%.0f/s), lost %d, out of order %d, duplicated %d (%d unexplained), wrong answers %d, problems %d, %d faults, took %s",
		word, r.Settings["order"], r.Seed, v.Acknowledged, float64(v.Acknowledged)/r.Sending.Seconds(), len(v.Lost), len(v.OutOfOrder),
		v.Duplicated, len(v.Unexplained), len(v.Wrong), len(r.Problems), len(r.Faults)-r.Overloaded, r.Took.Round(100*time.Millisecond))
}

// Text writes the report for a terminal.
func Text(w io.Writer, r *Report) error {
	var b strings.Builder
	v := r.Verdict
	fmt.Fprintf(&b, "chaos, seed %d: %s\n\n", r.Seed, list(r.Settings))
	row := func(name string, value any, format string, args ...any) {
		fmt.Fprintf(&b, "  %-26s %10v  %s\n", name, value, fmt.Sprintf(format, args...))
	}
	row("sent", v.Sent, "webhooks, over %s", r.Sending.Round(100*time.Millisecond))
	row("acknowledged", v.Acknowledged, "%d of them held; half within %s, 99 %% within %s, all within %s", v.Held, short(v.P50Ack), short(v.P99Ack), short(v.LongestAck))
	row("refused tries", v.Refused, "%d webhooks never acknowledged; answers %s", v.GivenUp, list(v.Answers))
	row("delivered", v.Delivered, "%d of them never acknowledged", v.Unasked)
	row("lost", len(v.Lost), "acknowledged and never delivered; %d of them are still stored", v.Stored)
	row("out of order", len(v.OutOfOrder), "within a lane, %s; %d could not be judged", scope(r), v.Unordered)
	for _, reason := range slices.Sorted(maps.Keys(v.Excused)) {
		row("  not promised", v.Excused[reason], "%s", reason)
	}
	row("duplicated", v.Duplicated, "%d deliveries without a reason", len(v.Unexplained))
	for _, reason := range slices.Sorted(maps.Keys(v.Explained)) {
		row("  explained", v.Explained[reason], "%s", reason)
	}
	row("damaged", len(v.Damaged), "not byte for byte")
	row("wrong answers", len(v.Wrong), "neither 503 nor explained by a fault")
	row("failed rows", r.Failed, "the app refused %d webhooks for good", r.Final)
	row("lanes opened by force", r.Forced, "CATCHUP_LIMIT")
	row("faults", len(r.Faults)-r.Overloaded, "%s", list(r.Steps))
	row("overloaded", r.Overloaded, "times in which the machine itself was too slow")
	row("memory", mebibytes(r.Memory.End), "at rest; under load at first %s, 95 %% within %s", mebibytes(r.Memory.FirstMedian), mebibytes(r.Memory.FirstHigh))
	row("goroutines", r.Goroutines.End, "at rest; under load at first %d, 95 %% within %d", r.Goroutines.FirstMedian, r.Goroutines.FirstHigh)
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "  ! %s\n", p)
	}
	for _, story := range r.Stories {
		fmt.Fprintf(&b, "\n  ! %s: %s in lane %s: %s\n", story.Trouble, story.ID, story.Lane, story.Reason)
		for _, l := range story.Lines {
			fmt.Fprintf(&b, "    %s\n", l)
		}
	}
	fmt.Fprintf(&b, "\n  %s\n", Summary(r))
	_, err := io.WriteString(w, b.String())
	return err
}

func scope(r *Report) string {
	if r.Settings["order"] == "strict" {
		return "across replicas"
	}
	return "at each replica"
}

func list[V any](m map[string]V) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %v", name, m[name]))
	}
	return strings.Join(parts, ", ")
}
