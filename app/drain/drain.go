// Package drain lets a Go program stop without dropping work; its API stays
// compatible from release to release.
//
// It counts the requests and jobs under way. SIGTERM or POST /drain begins the
// drain: from then on new work is refused. It waits for the work under way,
// extends the wait once, and cuts off what is still left. Then it runs the
// program's stop functions in order and returns the exit code: 0 when everything
// finished, 1 when work was abandoned.
//
// It knows no queue, no database and no server: it must never start, cancel or
// store a job by itself. The program does that when [Drain.Cut] ends, and in the
// functions that it gives to [Drain.OnBegin] and [Drain.OnStop]. The program's
// main calls it; it never calls os.Exit itself.
package drain

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// errNotDone is the error of a stop function that does not return in time.
var errNotDone = errors.New("not done in time")

// ErrCut is the cause with which [Drain.Cut]'s context ends when the extended
// window ran out.
var ErrCut = errors.New("drain window ran out")

// Config sets the limits of a drain. The zero value of each field means its
// default.
type Config struct {
	// Grace is how long work under way may take after the drain began: 5 min.
	// When it runs out the window is extended once, to twice Grace.
	Grace time.Duration
	// Termination is how long the platform waits between SIGTERM and SIGKILL:
	// 330 s. The extended window ends 15 s before the SIGKILL, or at half of a
	// Termination below 30 s, so that jobs cut off can still go back to their
	// queue.
	Termination time.Duration
	// Verify, when set, decides whether a POST /drain may begin the drain: an
	// error is logged and answered with 401. A program that shares a secret with
	// Sluice's sidecar uses senders.VerifyDrain here. SIGTERM is not verified.
	Verify func(*http.Request) error
	// Logger receives the messages that operators search for; slog.Default().
	Logger *slog.Logger
}

// reserve is the time between the end of the extended window and the platform's
// SIGKILL; when Termination is short, it is half of Termination. Cutting work off
// takes up to cutShare of it. The stop functions take the rest, stopLimit at
// most, except endShare, which is left for the process to exit. Their context
// ends leaveShare before their time is up, so that they can still clean up.
const (
	reserve    = 15 * time.Second
	stopLimit  = 4 * time.Second
	cutShare   = 6.5 / 15
	leaveShare = 1.5 / 15
	endShare   = 4.5 / 15
)

// Counts is how much work is under way. Its JSON form is the answer of
// GET /drain.
type Counts struct {
	Draining       bool `json:"draining"`
	ActiveRequests int  `json:"activeRequests"`
	ActiveJobs     int  `json:"activeJobs"`
}

// Drain counts work and ends it in order. Use [New].
type Drain struct {
	grace, extended time.Duration
	reserve         time.Duration
	termination     time.Duration
	verify          func(*http.Request) error // nil: every request may begin the drain
	log             *slog.Logger
	cut             context.Context //nolint:containedctx // Cut returns it; it belongs to no call
	cancelCut       context.CancelCauseFunc
	begun           chan struct{} // closed when the drain has begun
	changed         chan struct{} // cap 1: a count fell to zero while draining

	mu       sync.Mutex // guards the fields below; draining and the counts change under one lock
	draining bool
	requests int
	jobs     int
	onBegin  []func()
	onStop   []stopFunc
}

type stopFunc struct {
	name string
	run  func(context.Context) error
}

// New returns a Drain that has not begun.
func New(c Config) *Drain {
	if c.Grace <= 0 {
		c.Grace = 5 * time.Minute
	}
	if c.Termination <= 0 {
		c.Termination = 330 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	// A short Termination must not be all reserve.
	reserve := min(reserve, c.Termination/2)
	ceiling := c.Termination - reserve
	grace := min(c.Grace, ceiling)
	cut, cancel := context.WithCancelCause(context.Background())
	return &Drain{
		grace:    grace,
		extended: min(2*grace, ceiling),
		reserve:  reserve,

		termination: c.Termination,
		verify:      c.Verify,
		log:         c.Logger,
		cut:         cut,
		cancelCut:   cancel,
		begun:       make(chan struct{}),
		changed:     make(chan struct{}, 1),
	}
}

// StartJob counts a job. It returns false when the drain has begun: the job
// must then stay in its queue. Otherwise done must be called when the job has
// ended; calling it again does nothing.
func (d *Drain) StartJob() (done func(), ok bool) {
	return d.enter(&d.jobs)
}

// enter adds one to a counter unless the drain has begun.
func (d *Drain) enter(counter *int) (leave func(), ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.draining {
		return func() {}, false
	}
	*counter++
	return sync.OnceFunc(func() { d.leave(counter) }), true
}

func (d *Drain) leave(counter *int) {
	d.mu.Lock()
	*counter--
	idle := d.draining && d.requests+d.jobs == 0
	d.mu.Unlock()
	if idle {
		select {
		case d.changed <- struct{}{}:
		default:
		}
	}
}

// Counts returns how much work is under way.
func (d *Drain) Counts() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Counts{Draining: d.draining, ActiveRequests: d.requests, ActiveJobs: d.jobs}
}

// OnBegin adds a function that runs when the drain begins, in the order added
// and before Begin returns. It must return at once, for example after telling a
// queue to stop fetching.
func (d *Drain) OnBegin(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onBegin = append(d.onBegin, f)
}

// OnStop adds a function that runs after the last work has ended or was cut
// off, in the order added: listener first, database last. Its context ends
// before the platform's SIGKILL; a function that does not return then is no
// longer waited for.
func (d *Drain) OnStop(name string, f func(context.Context) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onStop = append(d.onStop, stopFunc{name, f})
}

// Begin starts the drain and returns true; later calls change nothing and return
// false. reason is logged ("SIGTERM", "POST /drain").
func (d *Drain) Begin(reason string) bool {
	d.mu.Lock()
	if d.draining {
		d.mu.Unlock()
		return false
	}
	d.draining = true
	hooks := d.onBegin
	counts := Counts{ActiveRequests: d.requests, ActiveJobs: d.jobs}
	d.mu.Unlock()

	for _, f := range hooks {
		f()
	}
	d.log.Info("Shutdown signal received, starting graceful drain",
		append(counts.attrs(), "reason", reason, "grace_ms", d.grace.Milliseconds())...)
	close(d.begun) // last: Wait goes on after this
	return true
}

// Cut is the context under which jobs run. It ends with the cause [ErrCut] when
// the extended window ran out; jobs that still run must then go back to their
// queue.
func (d *Drain) Cut() context.Context { return d.cut }

func (c Counts) attrs() []any {
	return []any{
		"activeRequests", c.ActiveRequests,
		"activeJobs", c.ActiveJobs,
		"activeTotal", c.ActiveRequests + c.ActiveJobs,
	}
}
