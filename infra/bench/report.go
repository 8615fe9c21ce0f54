package bench

import (
	"runtime"
	"slices"
	"time"

	"sluice/infra/bench/load"
)

// Report is the result of a run.
type Report struct {
	Started  time.Time  `json:"started"`
	Seconds  float64    `json:"seconds"`
	Rounds   int        `json:"rounds"`
	Bytes    int        `json:"bytes"`
	Machine  Machine    `json:"machine"`
	Sections []*Section `json:"sections"`
}

// Machine is where the run took place.
type Machine struct {
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	CPUs       int    `json:"cpus"`
	Go         string `json:"go"`
	PostgreSQL string `json:"postgresql"`
}

// Section is a group of contenders that were compared.
type Section struct {
	Name string `json:"name"`
	Rows []*Row `json:"rows"`
}

// Row is one contender. Its figures are medians over the rounds.
type Row struct {
	Name    string    `json:"name"`
	Figures Figures   `json:"figures"`
	Rounds  []Figures `json:"rounds"`
	Ratios  []*Ratio  `json:"ratios,omitempty"`
}

// Figures are those of one turn. Zero means not measured.
type Figures struct {
	Rate float64 `json:"perSecond"`
	P50  float64 `json:"p50Micros,omitempty"`
	P99  float64 `json:"p99Micros,omitempty"`
	// CPU time for one webhook: that of the contender's whole process, of the
	// database server,
	CPU         float64 `json:"cpuMicros,omitempty"`
	DatabaseCPU float64 `json:"databaseCpuMicros,omitempty"`
	// and of the bench itself, which sends.
	SenderCPU float64 `json:"senderCpuMicros,omitempty"`
	Megabytes float64 `json:"megabytes,omitempty"`
}

// Ratio compares a row with another, round by round.
type Ratio struct {
	To     string  `json:"to"`
	Of     string  `json:"of"` // "CPU", "rate", "p50", "p99"
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func newReport(c Config) *Report {
	return &Report{
		Started: time.Now(), Rounds: c.Rounds, Bytes: c.Bytes,
		Machine: Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()},
	}
}

// add records a turn. Rows are in the order in which they first appear.
func (r *Report) add(section, row string, round int, f Figures) {
	s := r.section(section)
	if s == nil {
		s = &Section{Name: section}
		r.Sections = append(r.Sections, s)
	}
	one := s.row(row)
	if one == nil {
		one = &Row{Name: row}
		s.Rows = append(s.Rows, one)
	}
	for len(one.Rounds) <= round {
		one.Rounds = append(one.Rounds, Figures{})
	}
	one.Rounds[round] = f
}

func (r *Report) section(name string) *Section {
	for _, s := range r.Sections {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// compare fills the ratios of a row to another.
func (s *Section) compare(row, to, of string, pick func(Figures) float64) {
	s.compareWith(row, to, of, pick, pick)
}

// compareWith compares one figure of a row with another figure of the other.
func (s *Section) compareWith(row, to, of string, pick, other func(Figures) float64) {
	a, b := s.row(row), s.row(to)
	if a == nil || b == nil || a == b {
		return
	}
	var ratios []float64
	for i := range a.Rounds {
		ratios = append(ratios, pick(a.Rounds[i])/other(b.Rounds[i]))
	}
	a.Ratios = append(a.Ratios, &Ratio{To: to, Of: of, Median: median(ratios), Min: slices.Min(ratios), Max: slices.Max(ratios)})
}

func (s *Section) row(name string) *Row {
	for _, r := range s.Rows {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// conclude computes medians and ratios after the last round.
func (r *Report) conclude() {
	for _, s := range r.Sections {
		for _, row := range s.Rows {
			row.Figures = Figures{
				Rate: row.median(rate), CPU: row.median(cpu),
				DatabaseCPU: row.median(func(f Figures) float64 { return f.DatabaseCPU }),
				SenderCPU:   row.median(func(f Figures) float64 { return f.SenderCPU }),
				P50:         row.median(p50),
				P99:         row.median(p99),
				Megabytes:   row.median(megabytes),
			}
		}
		for _, row := range s.Rows {
			switch s.Name {
			case sectionPass:
				if row.Name != "no proxy" {
					s.compare(row.Name, reverseProxy, "CPU", cpu)
					s.compare(row.Name, nginx, "CPU", cpu)
					s.compare(row.Name, nginx, "p99", p99)
				}
			case sectionRate:
				base := nginx
				if s.row(nginx) == nil {
					base = reverseProxy
				}
				s.compare(row.Name, base, "p50", p50)
				s.compare(row.Name, base, "p99", p99)
			case sectionDisk:
				s.compareWith(row.Name, oneFsync, "p99 in fsyncs (p50)", p99, p50)
			case sectionIdle:
				if row.Name != binary {
					s.compare(row.Name, idleRow, "memory", megabytes)
				}
			case sectionLanes:
				s.compare(row.Name, s.Rows[0].Name, "rate", rate)
			case sectionHold:
				switch row.Name {
				case "sidecar":
					s.compare(row.Name, singleInsert, "rate", rate)
				case heldWide:
					s.compare(row.Name, copyFrom, "rate", rate)
				}
			case sectionReplay:
				s.compare(row.Name, directOf(row.Name), "rate", rate)
			}
		}
	}
}

func figures(got *load.Result) Figures {
	return Figures{Rate: got.Rate(), P50: micros(got.Percentile(0.5)), P99: micros(got.Percentile(0.99)),
		SenderCPU: each(got.Own, got.Answered)}
}

// each is d divided by n, in microseconds.
func each(d time.Duration, n int) float64 { return micros(d) / float64(max(n, 1)) }

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func rate(f Figures) float64 { return f.Rate }
func cpu(f Figures) float64  { return f.CPU }
func p50(f Figures) float64  { return f.P50 }
func p99(f Figures) float64  { return f.P99 }

func megabytes(f Figures) float64 { return f.Megabytes }

func (row *Row) median(pick func(Figures) float64) float64 {
	var all []float64
	for _, f := range row.Rounds {
		all = append(all, pick(f))
	}
	return median(all)
}

func median(all []float64) float64 {
	slices.Sort(all)
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}
