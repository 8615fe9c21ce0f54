package ingress

import "sync"

// awaited are the webhooks whose late answer somebody awaits, by Sluice-Id. A
// webhook is in it before its row is written and until that is settled, so a row
// that is awaited in this replica's name and is not in it has been left behind by
// an insert whose answer was lost, and can be freed.
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

// Awaits reports whether somebody awaits the late answer to that webhook.
func (in *Ingress) Awaits(id string) bool {
	a := &in.awaited
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.ids[id]
	return ok
}
