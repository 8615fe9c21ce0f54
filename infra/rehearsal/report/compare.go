package report

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// Compare writes both ledgers of each report that has a bare run, side by side.
func Compare(w io.Writer, reports []*Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "  %-10s %36s   %36s\n", "", center("without Sluice", 36), center("with Sluice", 36))
	columns := fmt.Sprintf("%8s %14s %12s", "sent", "never arrived", "out of order")
	fmt.Fprintf(&b, "  %-10s %s   %s\n", "", columns, columns)
	any := false
	for _, r := range reports {
		if r.Bare == nil {
			continue
		}
		any = true
		fmt.Fprintf(&b, "  %-10s %s   %s\n", r.Scenario, account(r.Bare), account(r))
	}
	if !any {
		return nil
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func account(r *Report) string {
	return fmt.Sprintf("%8d %14d %12d", r.Verdict.Sent, r.NeverArrived(), len(r.Verdict.OutOfOrder))
}

func center(text string, width int) string {
	left := (width - len(text)) / 2
	return fmt.Sprintf("%-*s", width, strings.Repeat(" ", left)+text)
}

// newComparison draws how many webhooks had been sent and not arrived, in both runs.
func newComparison(r *Report) chart {
	c := chart{Width: chartWidth, Label: "Webhooks sent and not arrived over time, without and with Sluice"}
	if r.Bare == nil || len(r.Open) == 0 || len(r.Bare.Open) == 0 {
		return c
	}
	most, seconds := 1, 1.0
	for _, points := range [][]Open{r.Bare.Open, r.Open} {
		for _, p := range points {
			most, seconds = max(most, p.Webhooks), max(seconds, p.At.Seconds())
		}
	}
	count := step(float64(most), 5)
	s := scale{seconds: seconds, count: math.Ceil(float64(most)/count) * count}
	c.ticks(s, count)
	end := time.Duration(seconds * float64(time.Second)) // the shorter run stays as it ended
	bare, with := openPoints(r.Bare.Open, end), openPoints(r.Open, end)
	c.Held, c.Replayed = path(bare, s, held), path(with, s, held)
	// The labels stand beside the ends of the lines, and never on each other.
	bareAt, withAt := s.y(bare[len(bare)-1].Held), s.y(with[len(with)-1].Held)
	if withAt-bareAt < labelHeight {
		bareAt = withAt - labelHeight
	}
	c.HeldEnd = label{plotRight + 8, bareAt, fmt.Sprintf("without %d", bare[len(bare)-1].Held)}
	c.ReplayedEnd = label{plotRight + 8, withAt + 4, fmt.Sprintf("with %d", with[len(with)-1].Held)}
	c.Height = plotBottom + 32
	return c
}

const labelHeight = 16.0

func held(p Point) int { return p.Held }

func openPoints(open []Open, end time.Duration) []Point {
	var points []Point
	for _, o := range open {
		points = append(points, Point{At: o.At, Held: o.Webhooks})
	}
	return append(points, Point{At: end, Held: open[len(open)-1].Webhooks})
}

// ticks draws both axes.
func (c *chart) ticks(s scale, countStep float64) {
	for n := 0.0; n <= s.count; n += countStep {
		c.YTicks = append(c.YTicks, tick{s.y(int(n)), fmt.Sprintf("%.0f", n)})
	}
	timeStep := step(s.seconds, 10)
	for t := 0.0; t <= s.seconds; t += timeStep {
		c.XTicks = append(c.XTicks, tick{s.x(time.Duration(t * float64(time.Second))), fmt.Sprintf("%g s", t)})
	}
}
