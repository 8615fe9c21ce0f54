package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
	"time"
)

//go:embed page.html
var pageSource string

var page = template.Must(template.New("page").Parse(pageSource))

// HTML writes the reports as one page without scripts, fonts or other files.
func HTML(w io.Writer, reports []*Report) error {
	var runs []run
	for _, r := range reports {
		runs = append(runs, newRun(r))
	}
	return page.Execute(w, runs)
}

// run is what the template shows of a report.
type run struct {
	Scenario, About, Settings, Summary string
	Good                               bool
	Findings                           []string
	Rows                               []tableRow
	Moments                            []tableRow
	Chart, Comparison                  chart
	Accounts                           []accountRow // without and with Sluice
}

type accountRow struct{ Name, Bare, With string }

type tableRow struct{ A, B, C string }

func newRun(r *Report) run {
	v := run{
		Scenario: r.Scenario, About: r.About, Settings: settings(r), Summary: Summary(r),
		Good: r.Good(), Findings: findings(r), Chart: newChart(r),
	}
	if r.Bare != nil {
		v.Comparison = newComparison(r)
		v.Accounts = []accountRow{
			{"sent", fmt.Sprint(r.Bare.Verdict.Sent), fmt.Sprint(r.Verdict.Sent)},
			{"never arrived", fmt.Sprint(r.Bare.NeverArrived()), fmt.Sprint(r.NeverArrived())},
			{"out of order", fmt.Sprint(len(r.Bare.Verdict.OutOfOrder)), fmt.Sprint(len(r.Verdict.OutOfOrder))},
		}
	}
	for _, row := range rows(r) {
		v.Rows = append(v.Rows, tableRow{strings.TrimSpace(row.name), row.value, row.note})
	}
	for _, m := range moments(r) {
		v.Moments = append(v.Moments, tableRow{fmt.Sprintf("%.3f s", m.at.Seconds()), m.who, m.what})
	}
	return v
}

// The chart's measures, in SVG units.
const (
	chartWidth  = 960.0
	plotLeft    = 56.0
	plotRight   = 860.0
	plotTop     = 16.0
	plotBottom  = 256.0
	bandTop     = 296.0
	bandHeight  = 22.0
	bandGap     = 8.0
	bottomSpace = 12.0
)

// chart is the SVG of a run: held and replayed over time, and under them a band
// of states for each replica on the same axis of time.
type chart struct {
	Width, Height        float64
	Held, Replayed       string // path data
	HeldEnd, ReplayedEnd label
	XTicks, YTicks       []tick
	Bands                []band
	Marks                []mark
	Empty                bool // nothing was ever held
	Label                string
}

type label struct {
	X, Y float64
	Text string
}

type tick struct {
	At   float64
	Text string
}

// band is one state of one replica.
type band struct {
	X, Y, Width, Height, TextY float64
	Replica, State             string
	First                      bool // the band that carries the replica's name
	Label                      bool // wide enough for its state's name
}

// mark is a signal or a crash: a line through the chart.
type mark struct {
	X, Bottom float64
	Text      string
}

type scale struct{ seconds, count float64 }

func (s scale) x(d time.Duration) float64 {
	return plotLeft + (plotRight-plotLeft)*min(max(d.Seconds()/s.seconds, 0), 1)
}

func (s scale) y(n int) float64 {
	return plotBottom - (plotBottom-plotTop)*float64(n)/s.count
}

func newChart(r *Report) chart {
	c := chart{Width: chartWidth, Empty: true, Label: "Webhooks held and replayed over time, with the states of each replica"}
	if len(r.Curve) == 0 {
		return c
	}
	last := r.Curve[len(r.Curve)-1]
	c.Empty = last.Held == 0
	countStep := step(float64(max(last.Held, 1)), 5)
	s := scale{
		seconds: max(last.At.Seconds(), 1),
		count:   math.Ceil(float64(max(last.Held, 1))/countStep) * countStep,
	}
	c.ticks(s, countStep)
	c.Held = path(r.Curve, s, held)
	c.Replayed = path(r.Curve, s, func(p Point) int { return p.Replayed })
	c.HeldEnd = label{plotRight + 8, s.y(last.Held) - 2, fmt.Sprintf("held %d", last.Held)}
	c.ReplayedEnd = label{plotRight + 8, s.y(last.Replayed) + 14, fmt.Sprintf("replayed %d", last.Replayed)}
	c.Bands, c.Height = bands(r, s, last.At)
	c.Marks = marks(r, s, c.Height-bottomSpace)
	return c
}

// step is a round number that cuts total into about n parts.
func step(total float64, n int) float64 {
	rough := total / float64(n)
	unit := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, f := range []float64{1, 2, 5} {
		if f*unit >= rough {
			return max(f*unit, 1)
		}
	}
	return max(10*unit, 1)
}

// path draws the curve as steps: a count holds until it changes.
func path(points []Point, s scale, value func(Point) int) string {
	var b strings.Builder
	last := 0
	fmt.Fprintf(&b, "M%.1f %.1f", s.x(0), s.y(0))
	for _, p := range points {
		if n := value(p); n != last {
			fmt.Fprintf(&b, "H%.1fV%.1f", s.x(p.At), s.y(n))
			last = n
		}
	}
	fmt.Fprintf(&b, "H%.1f", s.x(points[len(points)-1].At))
	return b.String()
}

func bands(r *Report, s scale, end time.Duration) (list []band, height float64) {
	rowOf, open := map[string]int{}, map[string]int{}
	close := func(replica string, at time.Duration) {
		if i, ok := open[replica]; ok {
			list[i].Width = max(s.x(at)-list[i].X, 0)
			list[i].Label = list[i].Width > 7*float64(len(list[i].State))
		}
	}
	for _, state := range r.States {
		row, known := rowOf[state.Replica]
		if !known {
			row = len(rowOf)
			rowOf[state.Replica] = row
		}
		at := state.At.Sub(r.Begin)
		close(state.Replica, at)
		y := bandTop + float64(row)*(bandHeight+bandGap)
		open[state.Replica] = len(list)
		list = append(list, band{
			X: s.x(at), Y: y, Height: bandHeight, TextY: y + bandHeight*0.7,
			Replica: state.Replica, State: state.Name, First: !known,
		})
	}
	for replica := range open {
		close(replica, end)
	}
	return list, bandTop + float64(len(rowOf))*(bandHeight+bandGap) + bottomSpace
}

func marks(r *Report, s scale, bottom float64) []mark {
	var list []mark
	for _, e := range r.Events {
		signal := strings.HasPrefix(e.What, "SIGTERM") || strings.HasPrefix(e.What, "SIGKILL")
		if signal || e.Who == "postgres" {
			list = append(list, mark{s.x(e.At.Sub(r.Begin)), bottom, e.Who + ": " + e.What})
		}
	}
	return list
}
