package supervise

import (
	"maps"
	"slices"
	"sync"
)

// parts are the goroutines that live as long as the replica, each by the name
// under which it shows in the log. The zero value is ready for use.
type parts struct {
	all sync.WaitGroup

	mu      sync.Mutex
	running map[string]int
}

// start runs a part in a goroutine of its own.
func (p *parts) start(name string, run func()) {
	p.mu.Lock()
	if p.running == nil {
		p.running = map[string]int{}
	}
	p.running[name]++
	p.mu.Unlock()
	p.all.Go(func() {
		defer p.ended(name)
		run()
	})
}

func (p *parts) ended(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running[name]--; p.running[name] == 0 {
		delete(p.running, name)
	}
}

// names returns the parts that still run.
func (p *parts) names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.running))
}

// wait returns when every part has ended.
func (p *parts) wait() { p.all.Wait() }
