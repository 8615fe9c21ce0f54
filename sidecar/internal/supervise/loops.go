package supervise

import (
	"maps"
	"slices"
	"sync"
)

// loops are a replica's long-lived goroutines, each under a name, so that one
// that is slow to end can be named. Its zero value is ready.
type loops struct {
	group sync.WaitGroup
	mu    sync.Mutex
	names map[string]int // how many run
}

func (l *loops) start(name string, run func()) {
	l.count(name, 1)
	l.group.Go(func() {
		defer l.count(name, -1)
		run()
	})
}

func (l *loops) count(name string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.names == nil {
		l.names = map[string]int{}
	}
	if l.names[name] += n; l.names[name] == 0 {
		delete(l.names, name)
	}
}

// running returns the names of those that have not ended.
func (l *loops) running() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.names))
}

// ended returns a channel that is closed when all have ended.
func (l *loops) ended() <-chan struct{} {
	done := make(chan struct{})
	go func() { l.group.Wait(); close(done) }()
	return done
}
