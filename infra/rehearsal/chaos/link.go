package chaos

import (
	"sync"

	"sluice/infra/rehearsal/relay"
)

// link is the relay on one wire of a replica. It accepts connections while the
// process at its far end listens and no fault makes it refuse them.
type link struct {
	relay *relay.Relay

	mu      sync.Mutex
	target  string // "" while nobody listens there
	refuses bool
	busy    bool // a step is using it
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
		l.relay.Down()
		return nil
	}
	return l.relay.Up(l.target)
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
