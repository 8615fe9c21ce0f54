package chaos

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sluice/infra/rehearsal/sender"
)

// Size compares what the sidecars used under load, in the first third of a run,
// with what they use at its end, at rest.
type Size struct {
	FirstMedian int64 `json:"first_median"`
	FirstHigh   int64 `json:"first_high"` // of 95 % of the samples
	End         int64 `json:"end"`        // the largest of the replicas
}

// How much more a sidecar at rest may use than 95 % of the samples under load.
const (
	sizeFactor     = 1.25
	memorySlack    = 48 << 20 // a large body may have just come, and the heap may grow fivefold
	goroutineSlack = 20
)

func (z Size) flat(slack int64) bool {
	return float64(z.End) <= sizeFactor*float64(z.FirstHigh)+float64(slack)
}

// sizes measures the replicas at rest and compares them with the samples.
func (s *stage) sizes(ctx context.Context) (memory, goroutines Size) {
	s.load.client.forgetAll() // each idle connection costs the sidecar a goroutine
	sender.Pause(ctx, quiet)
	for _, n := range s.serving(false) {
		one, err := measure(ctx, n)
		if err != nil {
			s.problem("%s can't be measured at its end: %v", n.Name, err)
			continue
		}
		memory.End, goroutines.End = max(memory.End, one.memory), max(goroutines.End, int64(one.goroutines))
	}
	var bytes, routines []int64
	s.mu.Lock()
	for _, one := range s.samples {
		if one.at.Sub(s.begin) <= s.config.For/3 {
			bytes, routines = append(bytes, one.memory), append(routines, int64(one.goroutines))
		}
	}
	s.mu.Unlock()
	memory.FirstMedian, memory.FirstHigh = middle(bytes)
	goroutines.FirstMedian, goroutines.FirstHigh = middle(routines)
	if len(bytes) == 0 {
		return memory, goroutines
	}
	if !memory.flat(memorySlack) {
		s.problem("memory has grown: %s at rest, %s under load in the first third", mebibytes(memory.End), mebibytes(memory.FirstHigh))
	}
	if !goroutines.flat(goroutineSlack) {
		s.problem("goroutines have grown: %d at rest, %d under load in the first third", goroutines.End, goroutines.FirstHigh)
	}
	return memory, goroutines
}

func middle(values []int64) (median, high int64) {
	if len(values) == 0 {
		return 0, 0
	}
	slices.Sort(values)
	return values[len(values)/2], values[len(values)*95/100]
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func short(d time.Duration) string { return d.Round(time.Millisecond).String() }
