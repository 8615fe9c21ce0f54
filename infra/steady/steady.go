// Package steady tells a test whether the machine was too busy to check a time
// limit.
//
// On a busy machine a process may get no CPU for longer than the limit under
// test; such a run proves nothing. The package measures and must never judge.
// Tests call it.
package steady

import (
	"sync"
	"time"
)

const every = 10 * time.Millisecond

// Watch starts to measure. The returned function stops and returns the longest
// time by which a timer of 10 ms was late.
func Watch() (stalled func() time.Duration) {
	var watch sync.WaitGroup
	var longest time.Duration
	stop := make(chan struct{})
	watch.Go(func() {
		for last := time.Now(); ; {
			over := false
			select {
			case <-stop:
				over = true // the time since the last timer counts as well
			case <-time.After(every):
			}
			now := time.Now()
			longest = max(longest, now.Sub(last)-every)
			if last = now; over {
				return
			}
		}
	})
	return func() time.Duration {
		close(stop)
		watch.Wait()
		return longest
	}
}
