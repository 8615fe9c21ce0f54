// Package load posts webhooks over a fixed number of connections, each of which
// sends its next request when the last one is answered (a closed loop), and
// says how many were answered and how long they took.
//
// It costs as little as it can, because it shares the machine with what it
// measures: requests are made beforehand, and of an answer only the status and
// the length are read. It must never count what was not acknowledged, and it
// knows nothing of who answers. Package bench calls it.
package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Spec says what is sent. Either Measure or Count is set.
type Spec struct {
	Addr        string // host:port
	Connections int
	Requests    []Request // each connection sends them in turn, beginning at a different one
	Warm        time.Duration
	Measure     time.Duration // how long answers are counted, after Warm
	Count       int           // how many requests are sent in all, without a warm-up
	// CPU returns the CPU time that what is measured has used so far; nil for
	// none. It is called at both ends of the measured time.
	CPU func() (time.Duration, error)
}

// Result is what was counted.
type Result struct {
	Answered int           // with a 2xx, within the measured time
	Total    int           // with a 2xx, the warm-up included
	Elapsed  time.Duration // the measured time
	CPU      time.Duration // used in it
	Latency  []time.Duration
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

// patience is how long the last answers are waited for.
const patience = 30 * time.Second

type phase int32

const (
	warming phase = iota
	measuring
	ending
)

// run is one Run under way.
type run struct {
	spec  Spec
	phase atomic.Int32
	left  atomic.Int64 // requests that may still be sent, when Count is set
}

// Run sends until the time is over or the count is reached. Any answer but a
// 2xx, and a connection that fails, is an error: figures of a run with refusals
// would say nothing.
func Run(ctx context.Context, spec Spec) (*Result, error) {
	limit := patience + spec.Warm + spec.Measure
	if spec.Count > 0 {
		limit += time.Duration(spec.Count) * 10 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r := &run{spec: spec}
	workers, err := r.connect(ctx)
	defer func() {
		for _, w := range workers {
			w.conn.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	// Nobody else watches the clock: a connection that hangs is closed.
	stop := context.AfterFunc(ctx, func() {
		for _, w := range workers {
			w.conn.Close()
		}
	})
	defer stop()
	return r.drive(ctx, workers)
}

func (r *run) connect(ctx context.Context) (workers []*worker, err error) {
	for i := range r.spec.Connections {
		w, err := newWorker(ctx, r, i)
		if err != nil {
			return workers, err
		}
		workers = append(workers, w)
	}
	return workers, nil
}

func (r *run) drive(ctx context.Context, workers []*worker) (*Result, error) {
	errs := make([]error, len(workers))
	var wait sync.WaitGroup
	begin := func() {
		for i, w := range workers {
			wait.Go(func() {
				if errs[i] = w.loop(); errs[i] != nil {
					r.phase.Store(int32(ending)) // the others need not go on
				}
			})
		}
	}
	result := &Result{}
	if r.spec.Count == 0 {
		begin()
		sleep(ctx, r.spec.Warm)
	}
	before, err := r.cpu()
	started := time.Now()
	r.phase.CompareAndSwap(int32(warming), int32(measuring))
	if r.spec.Count > 0 {
		r.left.Store(int64(r.spec.Count))
		begin()
		wait.Wait()
	} else {
		sleep(ctx, r.spec.Measure)
	}
	r.phase.Store(int32(ending))
	result.Elapsed = time.Since(started)
	after, afterErr := r.cpu()
	result.CPU = after - before
	wait.Wait()
	if err := errors.Join(append(errs, err, afterErr, ctx.Err())...); err != nil {
		return nil, fmt.Errorf("post to %s: %w", r.spec.Addr, err)
	}
	for _, w := range workers {
		result.Latency = append(result.Latency, w.latency...)
		result.Total += w.total
	}
	result.Answered = len(result.Latency)
	slices.Sort(result.Latency)
	return result, nil
}

func (r *run) cpu() (time.Duration, error) {
	if r.spec.CPU == nil {
		return 0, nil
	}
	return r.spec.CPU()
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
