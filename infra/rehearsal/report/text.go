package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/infra/rehearsal/verdict"
)

const shownFindings = 10

// Text writes the report for a terminal.
func Text(w io.Writer, r *Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", r.Scenario, r.About)
	fmt.Fprintf(&b, "  %s\n", settings(r))
	b.WriteString("\n  timeline\n")
	for _, m := range moments(r) {
		fmt.Fprintf(&b, "  %8.3fs  %-10s %s\n", m.at.Seconds(), m.who, m.what)
	}
	b.WriteString("\n  ledger\n")
	for _, row := range rows(r) {
		fmt.Fprintf(&b, "  %-34s %10s  %s\n", row.name, row.value, row.note)
	}
	for _, f := range findings(r) {
		fmt.Fprintf(&b, "  ! %s\n", f)
	}
	fmt.Fprintf(&b, "\n  %s\n", Summary(r))
	_, err := io.WriteString(w, b.String())
	return err
}

// Summary is the run on one line.
func Summary(r *Report) string {
	v := r.Verdict
	word := "ok"
	switch {
	case !r.Good():
		word = "FAILED"
	case r.Without:
		word = "without Sluice,"
	}
	return fmt.Sprintf("%s %s: sent %d, acknowledged %d, refused %d, delivered %d, lost %d, duplicated %d (%d unexplained), out of order %d, longest ack %s, took %s",
		word, r.Scenario, v.Sent, v.Acknowledged, v.Refused, v.Delivered, len(v.Lost), v.Duplicated, len(v.Unexplained),
		len(v.OutOfOrder), short(v.LongestAck), r.Took.Round(100*time.Millisecond))
}

type row struct{ name, value, note string }

// rows is the ledger, in the order in which it is read.
func rows(r *Report) []row {
	v := r.Verdict
	n := func(i int) string { return fmt.Sprint(i) }
	rows := []row{
		{"sent", n(v.Sent), pace(r)},
		{"acknowledged", n(v.Acknowledged), fmt.Sprintf("%d of them held by a sidecar", v.Held)},
		{"refused tries", n(v.Refused), fmt.Sprintf("%d webhooks never acknowledged", v.GivenUp)},
		{"delivered", n(v.Delivered), fmt.Sprintf("%d of them never acknowledged", v.Unasked)},
		{"lost", n(len(v.Lost)), "acknowledged and never delivered"},
		{"out of order", n(len(v.OutOfOrder)), "within a lane, " + scope(r)},
		{"duplicated", n(v.Duplicated), fmt.Sprintf("%d without a reason", len(v.Unexplained))},
	}
	for _, reason := range slices.Sorted(maps.Keys(v.Explained)) {
		rows = append(rows, row{"  explained", n(v.Explained[reason]), reason})
	}
	rows = append(rows,
		row{"damaged", n(len(v.Damaged)), "body not byte for byte"},
		row{"wrong answers", n(len(v.Wrong)), "refusals other than 503"},
		row{"answers", "", answers(v.Answers)},
		row{"acknowledgement p50 / p99 / longest", "", fmt.Sprintf("%s / %s / %s", short(v.P50Ack), short(v.P99Ack), short(v.LongestAck))},
		row{"sidecar start to first accepted", worst(r.Latencies.ColdStart), against(r.Latencies.ColdStart, ColdStartTarget)},
		row{"SIGTERM to first held", worst(r.Latencies.FirstHold), against(r.Latencies.FirstHold, FirstHoldTarget)},
		row{"app's first health to first replayed", worst(r.Latencies.FirstReplay), against(r.Latencies.FirstReplay, FirstReplayTarget)},
	)
	return rows
}

// pace is the rate that was reached.
func pace(r *Report) string {
	if r.Sending <= 0 {
		return ""
	}
	return fmt.Sprintf("%.0f/s, over %s", float64(r.Verdict.Sent)/r.Sending.Seconds(), r.Sending.Round(100*time.Millisecond))
}

func scope(r *Report) string {
	if r.Settings["order"] == "strict" {
		return "across replicas"
	}
	scope := "at each replica"
	if n := r.Verdict.Unordered; n > 0 {
		scope += fmt.Sprintf("; %d tried at several replicas, not judged", n)
	}
	return scope
}

func answers(byStatus map[string]int) string {
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(byStatus)) {
		parts = append(parts, fmt.Sprintf("%s: %d", status, byStatus[status]))
	}
	return strings.Join(parts, ", ")
}

// findings are the faults and the first few webhooks of each kind of trouble.
func findings(r *Report) []string {
	found := slices.Clone(r.Faults)
	v := r.Verdict
	for _, group := range []struct {
		name string
		list []verdict.Finding
	}{
		{"lost", v.Lost}, {"out of order", v.OutOfOrder}, {"damaged", v.Damaged},
		{"duplicated without a reason", v.Unexplained}, {"wrong answer", v.Wrong},
	} {
		for i, f := range group.list {
			if i == shownFindings {
				found = append(found, fmt.Sprintf("%s: and %d more", group.name, len(group.list)-i))
				break
			}
			found = append(found, fmt.Sprintf("%s: %s in lane %s: %s", group.name, f.ID, f.Lane, f.Reason))
		}
	}
	return found
}

// moment is an event or a change of state, since the start of the sending.
type moment struct {
	at        time.Duration
	who, what string
}

func moments(r *Report) []moment {
	var all []moment
	for _, e := range r.Events {
		all = append(all, moment{e.At.Sub(r.Begin), e.Who, e.What})
	}
	for _, s := range r.States {
		all = append(all, moment{s.At.Sub(r.Begin), s.Replica, "is " + s.Name})
	}
	slices.SortStableFunc(all, func(a, b moment) int { return int(a.at - b.at) })
	return all
}

func settings(r *Report) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(r.Settings)) {
		parts = append(parts, name+" "+r.Settings[name])
	}
	return strings.Join(parts, ", ")
}

func worst(d []time.Duration) string {
	if len(d) == 0 {
		return "-"
	}
	return short(slices.Max(d))
}

func against(d []time.Duration, target time.Duration) string {
	if len(d) == 0 {
		return fmt.Sprintf("not seen in this run; target %s", target)
	}
	seen := ""
	if len(d) > 1 {
		seen = fmt.Sprintf("worst of %d, best %s; ", len(d), short(slices.Min(d)))
	}
	return fmt.Sprintf("%starget %s", seen, target)
}

func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(10 * time.Microsecond).String()
	}
}
