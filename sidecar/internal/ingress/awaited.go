package ingress

import "sync"

// awaited are the webhooks whose late answer this replica waits for, by Sluice-Id.
// A webhook is added before its row is written and removed after the row is
// settled. So a row that this replica is said to await and that is not in here was
// left behind by an insert whose result was lost, and can be freed.
type awaited struct {
	mu  sync.Mutex
	ids map[string]struct{}
}

func (a *awaited) add(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ids == nil {
		a.ids = map[string]struct{}{}
	}
	a.ids[id] = struct{}{}
}

func (a *awaited) remove(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.ids, id)
}

// Awaits reports whether this replica waits for the late answer to that webhook.
func (in *Ingress) Awaits(id string) bool {
	a := &in.awaited
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.ids[id]
	return ok
}
