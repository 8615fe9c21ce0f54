// Package load keeps a fixed number of senders busy, each of which sends its
// next webhook when the last one is acknowledged (a closed loop), and says how
// many were acknowledged and how long they took.
//
// It costs as little as it can, because it shares the machine with what it
// measures: requests are made beforehand, and of an answer only the status and
// the length are read. It must never count what was not acknowledged, and it
// knows nothing of who answers. Package bench calls it.
package load

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Sender sends one webhook and returns once it is acknowledged. It is used by
// one goroutine. An error ends the run.
type Sender interface {
	Send(context.Context) error
}

// Meter returns a sum that only grows: CPU time used.
type Meter func() (time.Duration, error)

// Spec says how long is sent. Either Measure or Count is set.
type Spec struct {
	Warm    time.Duration // before answers are counted
	Measure time.Duration // how long they are
	Count   int           // how many webhooks are sent in all, without a warm-up
	Meters  []Meter       // read at both ends of the measured time
}

// Result is what was counted.
type Result struct {
	Answered int             // within the measured time
	Total    int             // the warm-up included
	Elapsed  time.Duration   // the measured time
	Latency  []time.Duration // of what was answered in it, lowest first
	Used     []time.Duration // in it, by the meters
}

// Rate is the answers a second.
func (r *Result) Rate() float64 { return float64(r.Answered) / r.Elapsed.Seconds() }

// Percentile is the latency that p (0 to 1) of the answers kept to.
func (r *Result) Percentile(p float64) time.Duration {
	if len(r.Latency) == 0 {
		return 0
	}
	return r.Latency[min(int(p*float64(len(r.Latency))), len(r.Latency)-1)]
}

// bound limits a run: an answer may take long, but not for ever.
func (s Spec) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 30*time.Second+s.Warm+s.Measure+time.Duration(s.Count)*10*time.Millisecond)
}

// run is one Run under way.
type run struct {
	measuring, ending atomic.Bool
	left              atomic.Int64 // webhooks that may still be sent
	tallies           []tally      // one for each sender
}

type tally struct {
	total   int
	latency []time.Duration
	err     error
}

// Run sends until the time is over or the count is reached.
func Run(ctx context.Context, spec Spec, senders []Sender) (*Result, error) {
	ctx, cancel := spec.bound(ctx)
	defer cancel()
	r := &run{tallies: make([]tally, len(senders))}
	r.left.Store(1 << 62)
	if spec.Count > 0 {
		r.left.Store(int64(spec.Count))
		r.measuring.Store(true)
	}
	var wait sync.WaitGroup
	begin := func() {
		for i, s := range senders {
			wait.Go(func() { r.loop(ctx, s, &r.tallies[i]) })
		}
	}
	if spec.Count == 0 {
		begin()
		sleep(ctx, spec.Warm)
	}
	before, beforeErr := Read(spec.Meters)
	started := time.Now()
	if spec.Count > 0 {
		begin()
		wait.Wait()
	} else {
		r.measuring.Store(true)
		sleep(ctx, spec.Measure)
		r.measuring.Store(false)
	}
	elapsed := time.Since(started)
	used, afterErr := Read(spec.Meters)
	r.ending.Store(true)
	wait.Wait()
	if err := errors.Join(beforeErr, afterErr, r.failed(), ctx.Err()); err != nil {
		return nil, err
	}
	for i := range used {
		used[i] -= before[i]
	}
	return r.result(elapsed, used), nil
}

// loop is a sender's goroutine.
func (r *run) loop(ctx context.Context, s Sender, t *tally) {
	t.latency = make([]time.Duration, 0, 1<<14)
	for !r.ending.Load() && r.left.Add(-1) >= 0 {
		sent := time.Now()
		if t.err = s.Send(ctx); t.err != nil {
			r.ending.Store(true) // the others need not go on
			return
		}
		t.total++
		if r.measuring.Load() {
			t.latency = append(t.latency, time.Since(sent))
		}
	}
}

// failed returns the senders' first error: the others' say the same.
func (r *run) failed() error {
	for i := range r.tallies {
		if err := r.tallies[i].err; err != nil {
			return err
		}
	}
	return nil
}

func (r *run) result(elapsed time.Duration, used []time.Duration) *Result {
	result := &Result{Elapsed: elapsed, Used: used}
	for _, t := range r.tallies {
		result.Latency = append(result.Latency, t.latency...)
		result.Total += t.total
	}
	result.Answered = len(result.Latency)
	slices.Sort(result.Latency)
	return result
}

// Read reads every meter.
func Read(meters []Meter) (sums []time.Duration, err error) {
	for _, meter := range meters {
		sum, err := meter()
		if err != nil {
			return nil, err
		}
		sums = append(sums, sum)
	}
	return sums, nil
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
