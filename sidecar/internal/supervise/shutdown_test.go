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

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/lifecycle"
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
		w := drainWatch{last: told}
		got := false
		for _, o := range c.seen {
			got = w.over(told.Add(o.at), o.refuses, told.Add(o.last), o.counts)
		}
		if got != c.want {
			t.Errorf("%s: over=%v, want %v", name, got, c.want)
		}
	}
}

// The wait ends when nothing is left, and at the deadline whatever is.
func TestWaitDrainedHasALimit(t *testing.T) {
	for _, c := range []struct {
		busy bool
		want time.Duration
	}{{false, quietFor}, {true, 10 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			r, _ := replica(t, nobody, gate.PerLane)
			if c.busy {
				r.gate.Fire(lifecycle.AppUp)
				r.gate.Join()
			}
			told := time.Now()
			clean := r.waitDrained(told, told.Add(10*time.Second))
			if took := time.Since(told); clean == c.busy || took < c.want || took > c.want+200*time.Millisecond {
				t.Errorf("busy=%v: clean=%v after %s, want %s", c.busy, clean, took, c.want)
			}
		})
	}
}

// door is a server that notes what is done to it.
type door struct {
	name   string
	refuse error // of Shutdown
	notes  *[]string
}

func (d door) Serve(net.Listener) error { return http.ErrServerClosed }

func (d door) Shutdown(context.Context) error {
	*d.notes = append(*d.notes, d.name)
	return d.refuse
}

func (d door) Close() error {
	*d.notes = append(*d.notes, "cut "+d.name)
	return errors.New("close " + d.name)
}

// Every door is closed, in order, whatever becomes of those before it, and what
// does not close in time is cut.
func TestCloseServers(t *testing.T) {
	var notes []string
	r := &Replica{servers: []server{
		door{"public", context.DeadlineExceeded, &notes},
		door{"probes", http.ErrServerClosed, &notes},
		door{"control", nil, &notes},
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
	r.tellApp()
	if got := <-told; got != "POST /drain" || log.count("could not be told to drain") != 1 {
		t.Errorf("the app got %q, the log %d lines", got, log.count("told"))
	}
}

// What still waits for the app when the time is over ends with its connection.
func TestFinishCutsOffDeliveries(t *testing.T) {
	release, begun := make(chan struct{}), make(chan struct{}, 1)
	app := answering(t, func(http.ResponseWriter, *http.Request) { begun <- struct{}{}; <-release })
	defer close(release)
	for _, under := range []bool{false, true} {
		r, _ := replica(t, app, gate.PerLane)
		var err error
		r.store, err = buffer.Open(t.Context(), buffer.Config{URL: "postgres://nobody@127.0.0.1:1/none", Instance: uuid.NewString()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, over := context.WithCancel(t.Context())
		defer over()
		if under {
			r.loops.Go(func() {
				w := &webhook.Webhook{ID: uuid.NewString(), Head: webhook.NewHead("POST", "/hooks/x", "h"), Body: []byte("{}")}
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
			over()
		}
		if clean := r.finish(ctx); clean == under {
			t.Errorf("a delivery under way: %v, clean: %v", under, clean)
		}
	}
}
