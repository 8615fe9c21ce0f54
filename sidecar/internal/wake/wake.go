// Package wake is the wait of a loop that works at intervals, and can be asked
// to work at once.
//
// It owns no goroutine, and never waits beyond the end of a context. The loops of
// supervise and health call it.
package wake

import (
	"context"
	"time"
)

// Wait waits for d or until poked, and returns true; false when ctx has ended.
func Wait(ctx context.Context, d time.Duration, poked <-chan struct{}) bool {
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

// Poke ends a wait on c, which has room for one, now or the next time.
func Poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
