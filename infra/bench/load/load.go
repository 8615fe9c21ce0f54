// Package load runs a fixed number of senders, each of which sends its next
// webhook when the last one is acknowledged (a closed loop). It reports how many
// were acknowledged and how long that took.
//
// It uses as little CPU as possible, because it shares the machine with what it
// measures: requests are made beforehand, only status and length of an answer are
// read, and on Linux one goroutine serves all connections. It must never count a
// webhook that was not acknowledged, nor depend on who answers. Package bench
// calls it.
package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Sender sends one webhook and returns once it is acknowledged. It is used by
// one goroutine. An error ends the run.
type Sender interface {
	Send(context.Context) error
}

// Meter returns a total that only grows, such as used CPU time.
type Meter func() (time.Duration, error)

// Spec says how long, or how many webhooks, to send. Either Measure or Count is
// set.
type Spec struct {
	Warm    time.Duration // before answers are counted
	Measure time.Duration // how long answers are counted
	Count   int           // how many webhooks are sent in all, without a warm-up
	Meters  []Meter       // read at both ends of the measured time
	// Rate is how many webhooks a second become due (an open loop, with Measure
	// only). A latency then counts from when a webhook was due, and what was due in
	// the measured time counts, however late it is answered: a receiver that stalls
	// delays the next webhooks too, and a closed loop would not notice.
	Rate int
}

// due is when the nth webhook is due after the start.
func (s Spec) due(n int64) time.Duration {
	return time.Duration(n) * time.Second / time.Duration(s.Rate)
}

// counts reports whether a webhook due then counts.
func (s Spec) counts(due time.Duration) bool { return due >= s.Warm && due < s.end() }

func (s Spec) end() time.Duration { return s.Warm + s.Measure }

// Result is what was measured.
type Result struct {
	Answered int             // within the measured time
	Total    int             // the warm-up included
	Elapsed  time.Duration   // the measured time
	Latency  []time.Duration // of the answers in that time, lowest first
	Used     []time.Duration // by the meters, in that time
	Own      time.Duration   // CPU time of this process, which sends, in that time
}

// Rate is the answers a second.
func (r *Result) Rate() float64 { return float64(r.Answered) / r.Elapsed.Seconds() }

// Percentile is the latency that a share p (0 to 1) of the answers did not exceed.
func (r *Result) Percentile(p float64) time.Duration {
	if len(r.Latency) == 0 {
		return 0
	}
	return r.Latency[min(int(p*float64(len(r.Latency))), len(r.Latency)-1)]
}

// bound limits a run: an answer may take long, but not forever.
func (s Spec) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 30*time.Second+s.Warm+s.Measure+time.Duration(s.Count)*10*time.Millisecond)
}

// worker runs one or more senders until nothing is left to send.
type worker func(context.Context, *run, *tally) error

// run is the state of one Run.
type run struct {
	measuring, ending atomic.Bool
	left              atomic.Int64 // webhooks that may still be sent
	tallies           []tally      // one for each worker
	spec              Spec
	begun             time.Time
	next              atomic.Int64 // webhook to become due
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
	workers := make([]worker, len(senders))
	for i, s := range senders {
		workers[i] = func(ctx context.Context, r *run, t *tally) error { return r.loop(ctx, s, t) }
	}
	return work(ctx, spec, workers)
}

func work(ctx context.Context, spec Spec, workers []worker) (*Result, error) {
	r := &run{tallies: make([]tally, len(workers)), spec: spec, begun: time.Now()}
	r.left.Store(1 << 62)
	if spec.Count > 0 {
		r.left.Store(int64(spec.Count))
		r.measuring.Store(true)
	}
	var wait sync.WaitGroup
	begin := func() {
		for i, w := range workers {
			wait.Go(func() { r.work(ctx, w, &r.tallies[i]) })
		}
	}
	if spec.Count == 0 {
		begin()
		sleep(ctx, spec.Warm)
	}
	meters := append(slices.Clip(spec.Meters), own)
	before, beforeErr := Read(meters)
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
	used, afterErr := Read(meters)
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

func (r *run) work(ctx context.Context, w worker, t *tally) {
	t.latency = make([]time.Duration, 0, 1<<14)
	if t.err = w(ctx, r, t); t.err != nil {
		r.ending.Store(true) // stop the others
	}
}

// loop is the worker with one sender.
func (r *run) loop(ctx context.Context, s Sender, t *tally) error {
	if r.spec.Rate > 0 {
		return r.openLoop(ctx, s, t)
	}
	for r.more() {
		sent := time.Now()
		if err := s.Send(ctx); err != nil {
			return err
		}
		r.count(t, time.Since(sent))
	}
	return nil
}

// openLoop sends each webhook when it is due, or as soon after as a sender is free.
func (r *run) openLoop(ctx context.Context, s Sender, t *tally) error {
	for {
		due := r.spec.due(r.next.Add(1) - 1)
		if due >= r.spec.end() {
			return nil
		}
		sleep(ctx, time.Until(r.begun.Add(due)))
		if err := s.Send(ctx); err != nil {
			return err
		}
		r.countDue(t, due)
	}
}

// countDue counts an acknowledged webhook that was due then.
func (r *run) countDue(t *tally, due time.Duration) {
	t.total++
	if r.spec.counts(due) {
		t.latency = append(t.latency, time.Since(r.begun)-due)
	}
}

// more reports whether one more webhook is to be sent.
func (r *run) more() bool { return !r.ending.Load() && r.left.Add(-1) >= 0 }

// count counts an acknowledged webhook.
func (r *run) count(t *tally, latency time.Duration) {
	t.total++
	if r.measuring.Load() {
		t.latency = append(t.latency, latency)
	}
}

// failed returns the first worker's error; the others are usually the same.
func (r *run) failed() error {
	for i := range r.tallies {
		if err := r.tallies[i].err; err != nil {
			return err
		}
	}
	return nil
}

func (r *run) result(elapsed time.Duration, used []time.Duration) *Result {
	last := len(used) - 1
	result := &Result{Elapsed: elapsed, Used: used[:last], Own: used[last]}
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

func own() (time.Duration, error) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0, fmt.Errorf("read own CPU time: %w", err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), nil
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
