// Package steady tells tests about limits of time whether the machine kept up.
//
// On one that has other things to do a process may get no processor for longer
// than the limit that it has to keep: such a run proves nothing. It measures and
// never judges. Tests call it.
package steady

import (
	"sync"
	"time"
)

const every = 10 * time.Millisecond

// Watch begins to measure. The function that it returns ends that, and returns the
// longest time by which a timer of 10 ms was late.
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
