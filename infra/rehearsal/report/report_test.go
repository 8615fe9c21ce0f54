package report

import (
	"strings"
	"testing"
	"time"

	"sluice/infra/rehearsal/timeline"
	"sluice/infra/rehearsal/verdict"
)

func example() *Report {
	begin := time.Unix(1_000_000, 0)
	at := func(s float64) time.Time { return begin.Add(time.Duration(s * float64(time.Second))) }
	return &Report{
		Scenario: "restart", About: "the only replica is stopped", Settings: map[string]string{"rate": "100/s"},
		Verdict: &verdict.Verdict{Sent: 1000, Acknowledged: 990, Held: 40, Explained: map[string]int{"why not": 3}},
		Begin:   begin, Sending: 10 * time.Second,
		Latencies: Latencies{FirstHold: []time.Duration{3 * time.Millisecond, 4 * time.Millisecond}},
		Events:    []timeline.Event{{At: at(2), Who: "rev1-1", What: "SIGTERM to both"}, {At: at(3), Who: "rev1-1", What: "app ended: exit 0"}},
		States:    []timeline.State{{At: at(0), Replica: "rev1-1", Name: "passing"}, {At: at(2), Replica: "rev1-1", Name: "draining"}},
		Curve:     []Point{{0, 0, 0}, {3 * time.Second, 40, 0}, {10 * time.Second, 40, 39}},
	}
}

func text(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	if err := Text(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestText(t *testing.T) {
	r := example()
	got := text(t, r)
	for _, want := range []string{
		"2.000s  rev1-1     SIGTERM to both", "2.000s  rev1-1     is draining", "100/s, over 10s",
		"3  why not", "4ms  worst of 2, best 3ms; target 5ms", "not seen in this run; target 100ms", "ok restart: sent 1000",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	r.Verdict.Lost = []verdict.Finding{{ID: "w1", Lane: "slack", Reason: "gone"}}
	r.Faults = []string{"the sidecar ended with exit code 3"}
	got = text(t, r)
	for _, want := range []string{"! lost: w1 in lane slack: gone", "! the sidecar ended with exit code 3", "FAILED restart"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestPageNeedsNothingElse(t *testing.T) {
	r := example()
	r.Faults = []string{"<script>alert(1)</script>"}
	empty := example()
	empty.Curve, empty.States = nil, nil
	var b strings.Builder
	if err := HTML(&b, []*Report{r, empty}); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{
		"prefers-color-scheme: dark", "held 40", "replayed 39", "rev1-1: draining", "rev1-1: SIGTERM to both", "&lt;script&gt;", "failed</span>",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	for _, not := range []string{"<script", "src=", "href=", "@import", "url(", "NaN", "Inf"} {
		if strings.Contains(page, not) {
			t.Errorf("%q in the page", not)
		}
	}
}

func TestCurveIsDrawnToScale(t *testing.T) {
	c := newChart(example())
	// 40 of a scale that ends at 40 is at the top, and 10 s of 10 s at the right.
	if want := "M56.0 256.0H297.2V16.0H860.0"; c.Held != want {
		t.Errorf("held %s, want %s", c.Held, want)
	}
	if n := len(c.Bands); n != 2 || c.Bands[0].Width != c.Bands[1].X-c.Bands[0].X {
		t.Errorf("bands %+v", c.Bands)
	}
	if len(c.Marks) != 1 {
		t.Errorf("marks %+v", c.Marks)
	}
}

// Both ledgers stand side by side, on the terminal and on the page.
func TestCompare(t *testing.T) {
	r, bare := example(), example()
	r.Verdict.Delivered = 1000
	r.Open = []Open{{0, 0}, {time.Second, 30}, {2 * time.Second, 0}}
	bare.Without, bare.Verdict = true, &verdict.Verdict{Sent: 1000, Delivered: 963, OutOfOrder: make([]verdict.Finding, 4)}
	bare.Open = []Open{{0, 0}, {time.Second, 40}, {3 * time.Second, 37}}
	if !bare.Good() {
		t.Error("what an app loses by itself is judged")
	}
	r.Bare = bare
	var b strings.Builder
	if err := Compare(&b, []*Report{r, example()}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(b.String()), " "); !strings.HasSuffix(got, "restart 1000 37 4 1000 0 0") {
		t.Errorf("got %s", b.String())
	}
	b.Reset()
	if err := HTML(&b, []*Report{r}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<td>never arrived</td><td class=\"number\">37</td><td class=\"number\">0</td>", "without 37", "with 0"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page has no %q", want)
		}
	}
}
