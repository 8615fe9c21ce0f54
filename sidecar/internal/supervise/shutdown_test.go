package supervise

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/request"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/internal/webhook"
)

// An observation is made at a time after SIGTERM.
func TestDrainWatch(t *testing.T) {
	type seen struct {
		at      time.Duration
		refuses bool
		last    time.Duration // of the last request, from SIGTERM
		counts  gate.Counts
	}
	const s = time.Second
	var none gate.Counts
	for name, c := range map[string]struct {
		seen []seen
		want bool // after the last one
	}{
		"nothing is left":             {[]seen{{4 * s, true, -s, none}, {5 * s, true, -s, none}}, true},
		"a moment too early":          {[]seen{{4 * s, true, -s, none}, {5*s - 1, true, -s, none}}, false},
		"the app listens":             {[]seen{{60 * s, false, -s, none}}, false},
		"the app has just gone":       {[]seen{{60 * s, true, -s, none}, {61*s - 1, true, -s, none}}, false},
		"the app is gone":             {[]seen{{60 * s, true, -s, none}, {61 * s, true, -s, none}}, true},
		"the app was back":            {[]seen{{60 * s, true, -s, none}, {61 * s, false, -s, none}, {62 * s, true, -s, none}}, false},
		"the app is back":             {[]seen{{60 * s, true, -s, none}, {62 * s, false, -s, none}}, false},
		"somebody came":               {[]seen{{8 * s, true, 5 * s, none}, {10*s - 1, true, 5 * s, none}}, false},
		"nobody came since":           {[]seen{{8 * s, true, 5 * s, none}, {10 * s, true, 5 * s, none}}, true},
		"a forward is under way":      {[]seen{{60 * s, true, -s, none}, {99 * s, true, -s, gate.Counts{InFlight: 1}}}, false},
		"a hold is under way":         {[]seen{{60 * s, true, -s, none}, {99 * s, true, -s, gate.Counts{Holds: 1}}}, false},
		"shut lanes are for replay":   {[]seen{{60 * s, true, -s, none}, {99 * s, true, -s, gate.Counts{Shut: 9, Forced: 1}}}, true},
		"a sidecar that just started": {[]seen{{0, true, -s, none}, {5 * s, true, -s, none}}, true},
	} {
		told := time.Unix(1000, 0)
		w := drainWatch{refusedFor: refusedFor, quietFor: quietFor, last: told}
		got := false
		for _, o := range c.seen {
			got = w.over(told.Add(o.at), o.refuses, told.Add(o.last), o.counts)
		}
		if got != c.want {
			t.Errorf("%s: over=%v, want %v", name, got, c.want)
		}
	}
}

// The wait ends when nothing is left, and at the end of its time whatever is. Of
// a short grace no part goes to waiting for late senders.
func TestWaitDrainedHasALimit(t *testing.T) {
	for _, c := range []struct {
		grace      time.Duration
		idle, busy time.Duration // how long it takes
	}{
		{time.Second, 100 * time.Millisecond, 500 * time.Millisecond},
		{4 * time.Second, 400 * time.Millisecond, 2 * time.Second},
		{6 * time.Second, time.Second, 3 * time.Second},
		{10 * time.Second, 10 * time.Second / 6, 5 * time.Second},
		{30 * time.Second, 5 * time.Second, 25 * time.Second},
		{330 * time.Second, 5 * time.Second, 325 * time.Second},
		{time.Hour, 5 * time.Second, time.Hour - 5*time.Second},
	} {
		for _, busy := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				r, _ := replica(t, nobody, gate.PerLane)
				want := c.idle
				if busy {
					want = c.busy
					r.gate.Fire(lifecycle.AppUp)
					r.gate.Join()
				}
				told := time.Now()
				clean := r.waitDrained(told, newBudget(told, c.grace))
				if took := time.Since(told); clean == busy || took < want || took > want+150*time.Millisecond {
					t.Errorf("grace %s, busy=%v: clean=%v after %s, want %s", c.grace, busy, clean, took, want)
				}
			})
		}
	}
}

// However short the grace is, what there is of it is divided in order, and
// nothing is left for after it.
func TestBudget(t *testing.T) {
	told := time.Unix(1000, 0)
	for _, grace := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 15 * time.Second, 330 * time.Second, 50 * 365 * 24 * time.Hour} {
		b := newBudget(told, grace)
		kill := told.Add(grace)
		if !b.drain.After(told) || !b.end.After(b.drain) || !kill.After(b.end) || b.refused >= b.drain.Sub(told) || b.quiet >= b.drain.Sub(told) || b.look <= 0 {
			t.Errorf("grace %s: %+v", grace, b)
		}
		if grace >= 10*time.Second && kill.Sub(b.drain) != reserve {
			t.Errorf("grace %s: stops %s before the SIGKILL", grace, kill.Sub(b.drain))
		}
		// Closing takes as long at most when it begins early, and ends in time
		// when it begins late.
		for _, begun := range []time.Time{told, b.drain, b.drain.Add(b.end.Sub(b.drain) / 2)} {
			by := b.closing(begun)
			last := begun
			for _, share := range []float64{listenersBy, loopsBy, answersBy, leaveBy, storeBy} {
				if !by(share).After(last) {
					t.Errorf("grace %s: a step has no time", grace)
				}
				last = by(share)
			}
			if last.After(b.end) || last.Sub(begun) > reserve {
				t.Errorf("grace %s: closing begun %s after SIGTERM takes %s", grace, begun.Sub(told), last.Sub(begun))
			}
		}
	}
}

// A step that hangs is left behind, and the log says which one.
func TestAStepHasALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, log := replica(t, nobody, gate.PerLane)
		hung := make(chan struct{})
		defer close(hung)
		began := time.Now()
		for name, f := range map[string]func(context.Context) error{
			"hangs": func(context.Context) error { <-hung; return nil },
			"heeds": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
			"fails": func(context.Context) error { return errors.New("no") },
		} {
			if r.step(name, time.Now().Add(3*time.Second), "It failed", f) || log.Count("It failed") != 1 || log.Count("step="+name) != 1 {
				t.Errorf("%s: %s", name, log)
			}
			log.Reset()
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("took %s", took)
		}
		if !r.step("slow", time.Now().Add(3*time.Second), "It failed", func(context.Context) error {
			<-time.After(slowStep + 1)
			return nil
		}) || log.Count("Shutdown step was slow") != 1 || log.Count("step=slow") != 1 {
			t.Errorf("slow: %s", log)
		}
		log.Reset()
		if !r.step("quick", time.Now().Add(3*time.Second), "It failed", func(context.Context) error { return nil }) || len(log.String()) > 0 {
			t.Errorf("quick: %s", log)
		}
	})
}

// listener is a server that notes what is done to it.
type listener struct {
	name   string
	refuse error // of Shutdown
	notes  *[]string
}

func (d listener) Serve(net.Listener) error { return http.ErrServerClosed }

func (d listener) Shutdown(context.Context) error {
	*d.notes = append(*d.notes, d.name)
	return d.refuse
}

func (d listener) Close() error {
	*d.notes = append(*d.notes, "cut "+d.name)
	return errors.New("close " + d.name)
}

// Every listener is closed, in order, whatever becomes of those before it, and what
// does not close in time is cut.
func TestCloseServers(t *testing.T) {
	var notes []string
	r := &Replica{servers: []server{
		listener{"public", context.DeadlineExceeded, &notes},
		listener{"probes", http.ErrServerClosed, &notes},
		listener{"control", nil, &notes},
	}}
	err := r.closeServers(t.Context())
	if want := []string{"public", "cut public", "probes", "control"}; !slices.Equal(notes, want) {
		t.Errorf("done: %v, want %v", notes, want)
	}
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(err), "close public") || errors.Is(err, http.ErrServerClosed) {
		t.Errorf("error is %v", err)
	}
}

// An app that does not answer is told for two seconds and no longer.
func TestTellAppHasALimit(t *testing.T) {
	release, told := make(chan struct{}), make(chan string, 1)
	r, log := replica(t, answering(t, func(_ http.ResponseWriter, q *http.Request) {
		told <- q.Method + " " + q.URL.Path
		<-release
	}), gate.PerLane)
	defer close(release)
	r.tellApp(time.Now().Add(patience))
	if got := <-told; got != "POST /drain" || log.Count("could not be told to drain") != 1 {
		t.Errorf("the app got %q, the log %d lines", got, log.Count("told"))
	}
}

// What still waits for the app when the time is over ends with its connection.
func TestEndLoopsCutsOffDeliveries(t *testing.T) {
	release, begun := make(chan struct{}), make(chan struct{}, 1)
	app := answering(t, func(http.ResponseWriter, *http.Request) { begun <- struct{}{}; <-release })
	defer close(release)
	for _, under := range []bool{false, true} {
		r, log := replica(t, app, gate.PerLane)
		if under {
			r.loops.start("work", func() {
				w := &webhook.Webhook{ID: uuid.NewString(), Head: request.NewHead("POST", "/hooks/x", "h"), Body: []byte("{}")}
				e, err := r.app.Send(w, 1, true, time.Now().Add(patience))
				if err == nil {
					_, err = e.Await(time.Now().Add(patience))
					e.Close()
				}
				if !errors.Is(err, upstream.ErrReset) {
					t.Errorf("the delivery ended with %v", err)
				}
			})
			<-begun
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if err := r.endLoops(ctx, func() {}); errors.Is(err, errCutOff) != under {
			t.Errorf("a delivery under way: %v, ended with %v", under, err)
		}
		if named := log.Count("slow to end\" parts=[work]") == 1; named != under {
			t.Errorf("a delivery under way: %v, named in the log: %v", under, named)
		}
	}
}
