// Package loop has the two things that every long-lived loop of a replica does:
// wait for its next turn, and be woken before it.
//
// It owns no goroutine and no channel. It must never decide what a turn does.
// replay and supervise call it.
package loop

import (
	"context"
	"time"
)

// Tick waits for d or a poke and returns true, or false when ctx ends. With a nil
// channel only the time counts.
func Tick(ctx context.Context, d time.Duration, poked <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-poked:
	case <-t.C:
	}
	return true
}

// Poke ends a Tick on c, the next one when none waits. It never blocks: c must have
// room for one.
func Poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
