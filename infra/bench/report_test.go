package bench

import (
	"strings"
	"testing"
)

func TestRatiosPairTurnsOfOneRound(t *testing.T) {
	r := newReport(Config{Rounds: 3, Bytes: 2048})
	// The machine is half as fast in the second round. Each pair gives 2x; the
	// medians of the rates alone would not.
	for round, speed := range []float64{1000, 500, 800} {
		r.add(sectionHold, "sidecar", round, Figures{Rate: 2 * speed, P50: 1500})
		r.add(sectionHold, singleInsert, round, Figures{Rate: speed})
		r.add(sectionPass, reverseProxy, round, Figures{Rate: speed, CPU: 100})
		r.add(sectionPass, "sidecar, verifying", round, Figures{Rate: speed, CPU: []float64{40, 80, 60}[round]})
		r.add(sectionReplay, "app"+replayed, round, Figures{Rate: 3 * speed})
		r.add(sectionReplay, "app"+direct, round, Figures{Rate: 4 * speed})
	}
	r.conclude()
	for _, want := range []struct {
		section, row, to, of string
		median, min, max     float64
	}{
		{sectionHold, "sidecar", singleInsert, "rate", 2, 2, 2},
		{sectionPass, "sidecar, verifying", reverseProxy, "CPU", 0.6, 0.4, 0.8},
		{sectionReplay, "app" + replayed, "app" + direct, "rate", 0.75, 0.75, 0.75},
	} {
		row := r.section(want.section).row(want.row)
		if len(row.Ratios) != 1 || *row.Ratios[0] != (Ratio{want.to, want.of, want.median, want.min, want.max}) {
			t.Errorf("%s: ratio is %+v, want %+v", want.row, row.Ratios, want)
		}
	}
	if base := r.section(sectionHold).row(singleInsert); base.Ratios != nil || base.Figures.Rate != 800 {
		t.Errorf("base has ratio %v and rate %v, want none and 800", base.Ratios, base.Figures.Rate)
	}
	var out strings.Builder
	if err := Text(&out, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2.00x", "(0.40 to 0.80)", "CPU of httputil.ReverseProxy", "1.50 ms"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("text lacks %q:\n%s", want, &out)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"section": func(c *Config) { c.Sections = []string{"speed"} },
		"rounds":  func(c *Config) { c.Rounds = 0 },
		"held":    func(c *Config) { c.Held = -1 },
		"turn":    func(c *Config) { c.Turn = 0 },
		"bytes":   func(c *Config) { c.Bytes = 10 },
	} {
		c := Defaults()
		spoil(&c)
		if err := c.check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
