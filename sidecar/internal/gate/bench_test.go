package gate

import (
	"fmt"
	"testing"
	"time"

	"sluice/sidecar/internal/lifecycle"
)

// shutLanes returns a gate before a backlog in so many lanes.
func shutLanes(lanes int) (*Gate, map[string]int) {
	g := New(Config{CatchupLimit: time.Minute})
	backlog := make(map[string]int, lanes)
	for i := range lanes {
		backlog[fmt.Sprint("lane", i)] = 10
	}
	g.Fire(lifecycle.AppUp)
	k, _ := g.Look(1000, true)
	g.Found(backlog)
	g.Surveyed(k)
	return g, backlog
}

// BenchmarkLook is one look and its answer: for no longer than that may a webhook
// have to wait for the gate's lock.
func BenchmarkLook(b *testing.B) {
	for _, lanes := range []int{100, 1000, 100_000} {
		b.Run(fmt.Sprint(lanes, "-lanes"), func(b *testing.B) {
			g, backlog := shutLanes(lanes)
			for b.Loop() {
				k, _ := g.Look(1000, true)
				g.Apply(k, backlog, 64, time.Now())
			}
		})
	}
}

// BenchmarkEnterBesideLooks lets webhooks of a lane of their own in while the lanes
// of a backlog are asked about without a pause.
func BenchmarkEnterBesideLooks(b *testing.B) {
	for _, lanes := range []int{100, 1000, 100_000} {
		b.Run(fmt.Sprint(lanes, "-lanes"), func(b *testing.B) {
			g, backlog := shutLanes(lanes)
			stop, over := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(over)
				for {
					select {
					case <-stop:
						return
					default:
						k, _ := g.Look(1000, true)
						g.Apply(k, backlog, 64, time.Now())
					}
				}
			}()
			for b.Loop() {
				if v, _ := g.Enter("mine", false); v != Forward {
					b.Fatal(v)
				}
				g.Leave()
			}
			close(stop)
			<-over
		})
	}
}
