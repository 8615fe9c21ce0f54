package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Text writes the report as tables.
func Text(out io.Writer, r *Report) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, s := range r.Sections {
		fmt.Fprintf(w, "\n%s\n", s.Name)
		fmt.Fprintln(w, "\tper second\tp50\tp99\tCPU each\t+database\t+sender\tmemory\tratio\t(rounds)\t")
		for _, row := range s.Rows {
			f := row.Figures
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t", row.Name, amount(f.Rate, "%.0f"), milli(f.P50), milli(f.P99),
				micro(f.CPU), micro(f.DatabaseCPU), micro(f.SenderCPU), amount(f.Megabytes, "%.1f MB"))
			if len(row.Ratios) == 0 {
				fmt.Fprintln(w, "\t\t")
			}
			for i, ratio := range row.Ratios {
				if i > 0 {
					fmt.Fprint(w, "\t\t\t\t\t\t\t\t")
				}
				fmt.Fprintln(w, ratio)
			}
		}
	}
	fmt.Fprintf(w, "\nMedians of %d rounds in %.0f s, bodies of %d bytes; %s/%s, %d CPUs, %s, PostgreSQL %s.\n",
		r.Rounds, r.Seconds, r.Bytes, r.Machine.OS, r.Machine.Arch, r.Machine.CPUs, r.Machine.Go, r.Machine.PostgreSQL)
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func amount(n float64, format string) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf(format, n)
}

func milli(us float64) string {
	if us == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f ms", us/1000)
}

func micro(us float64) string {
	if us == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f µs", us)
}

// String returns the last columns of a table row.
func (r *Ratio) String() string {
	return fmt.Sprintf("%.2fx\t(%.2f to %.2f)\t  %s of %s", r.Median, r.Min, r.Max, r.Of, r.To)
}

func directOf(row string) string {
	if name, ok := strings.CutSuffix(row, replayed); ok {
		return name + direct
	}
	return ""
}
