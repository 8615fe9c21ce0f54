package chaos

import (
	"sync"

	"sluice/infra/rehearsal/wire"
)

// link is a wire of a replica: it takes connections while the process at its far
// end does, and while no fault has it refuse them.
type link struct {
	wire *wire.Wire

	mu      sync.Mutex
	target  string // "" while nobody listens there
	refuses bool
	busy    bool // a step is at it
}

// follow says where the far end listens, "" for nowhere.
func (l *link) follow(target string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = target
	return l.apply()
}

// refuse turns connections away, or ends that.
func (l *link) refuse(refuses bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuses = refuses
	return l.apply()
}

func (l *link) apply() error {
	if l.target == "" || l.refuses {
		l.wire.Down()
		return nil
	}
	return l.wire.Up(l.target)
}

// take gives the link to one step alone; free gives it back.
func (l *link) take() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy {
		return false
	}
	l.busy = true
	return true
}

func (l *link) free() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = false
}
