package simulate

import (
	"fmt"
	"time"
)

// pick returns one of the kinds of trouble, the likelier the higher its rate,
// -1 when there are none.
func (d *dice) pick(rates ...float64) int {
	sum := 0.0
	for _, r := range rates {
		sum += r
	}
	d.mu.Lock()
	at := d.rng.Float64() * sum
	d.mu.Unlock()
	for i, r := range rates {
		if at -= r; at < 0 {
			return i
		}
	}
	return -1
}

// troubled makes a slot's processes end, stand still and lose the database. At
// the end there is one that is well.
func (s *slot) troubled(until time.Time) {
	d, p := s.world.dice(fmt.Sprint("slot/", s.index)), s.world.plan
	s.start()
	for time.Now().Before(until) {
		sleep(d.between(500*time.Millisecond, 8*time.Second))
		trouble := d.pick(p.kill, p.pause, p.partition, p.deploy)
		if r := s.serving(); r != nil && trouble >= 0 {
			s.suffer(r, d, trouble)
		}
	}
	s.current().start()
	s.start()
}

// suffer is one piece of trouble with a slot's process.
func (s *slot) suffer(r *replica, d *dice, trouble int) {
	w := s.world
	switch trouble {
	case 0:
		if d.chance(0.3) {
			s.current().stop()
		}
		s.kill()
		sleep(d.between(10*time.Millisecond, 20*time.Second))
		s.current().start()
		s.start()
	case 1:
		stop := d.between(50*time.Millisecond, 20*time.Second)
		w.line.note(r.name, "the sidecar stands still for %v", stop)
		r.host.pause(stop)
		sleep(stop)
	case 2:
		w.line.note(r.name, "the sidecar is cut off from the database")
		r.store.cut.Store(true)
		sleep(d.between(100*time.Millisecond, 25*time.Second))
		r.store.cut.Store(false)
		w.line.note(r.name, "the sidecar is no longer cut off")
	case 3:
		a := s.deploy()
		sleep(d.between(0, 8*time.Second))
		w.ending.Go(func() { s.terminate(r, a, d.between(100*time.Millisecond, 4*time.Second)) })
	}
}

// poisoned is the end of a pod by what its app was sent: all of it starts again.
func (s *slot) poisoned(a *app) {
	a.stop()
	if s.current() != a || !s.kill() || s.world.stopping.Load() {
		return
	}
	sleep(s.world.dice(fmt.Sprint("poisoned/", s.index)).between(100*time.Millisecond, 2*time.Second))
	a.start()
	s.start()
}

// moody makes a slot's app die and answer in every way.
func (s *slot) moody(until time.Time) {
	d, p := s.world.dice(fmt.Sprint("moody/", s.index)), s.world.plan
	for time.Now().Before(until) {
		sleep(d.between(200*time.Millisecond, 6*time.Second))
		a := s.current()
		switch d.pick(p.appDies, p.mood) {
		case 0:
			a.stop()
			sleep(d.between(50*time.Millisecond, 6*time.Second))
			if a == s.current() {
				a.start()
			}
		case 1:
			a.set(moods[1+d.below(len(moods)-1)])
			sleep(d.between(500*time.Millisecond, 8*time.Second))
			a.set(moods[0])
		}
	}
	s.current().set(moods[0])
	s.current().start()
}

// databaseTroubled makes the database go away and its clock jump: not so far
// that what the replicas' trust allows for is used up.
func (w *world) databaseTroubled(until time.Time) {
	d, p := w.dice("database"), w.plan
	furthest := 4 * time.Second // of the 5 s between a lease's trust and its end
	if p.strict {
		furthest = 400 * time.Millisecond // of the 500 ms between a permit and who lapses
	}
	for time.Now().Before(until) {
		sleep(d.between(2*time.Second, 20*time.Second))
		switch d.pick(p.away, p.crash, p.jump, p.operator) {
		case 0:
			w.line.note("db", "the database refuses everybody")
			w.db.setAway(true)
		case 1:
			w.line.note("db", "the database crashes")
			w.db.crash()
		case 2:
			by := d.between(-furthest, furthest)
			w.line.note("db", "the database's clock jumps by %v", by)
			w.db.jump(by)
			sleep(15 * time.Second)
			continue
		case 3:
			w.line.note("operator", "UPDATE webhook_queue SET status = 'pending' WHERE status = 'processing'")
			w.db.operator()
			continue
		default:
			continue
		}
		sleep(d.between(100*time.Millisecond, 12*time.Second))
		w.db.setAway(false)
		w.line.note("db", "the database is back")
	}
}
