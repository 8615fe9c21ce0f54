package simulate

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"

	"net"
	"os"

	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/config"
	"sluice/sidecar/internal/supervise"
	"sluice/sidecar/routes"
	"sluice/sidecar/settings"
)

const secret = "simulated"

// world is everything in one bubble.
type world struct {
	t        *testing.T
	seed     uint64
	plan     plan
	line     *timeline
	net      *network
	db       *database
	ledger   *ledger
	slots    []*slot
	calm     atomic.Bool // no more faults
	last     atomic.Bool // no further webhook is poison
	stopping atomic.Bool // nothing begins any more
	ending   sync.WaitGroup

	mu     sync.Mutex
	dices  map[string]*dice
	tries  map[string]int
	poison map[string]bool
}

// slot is a place in which there is a replica, now and then another one.
type slot struct {
	world *world
	index int

	mu      sync.Mutex
	version int // of a deploy: another name, another app
	lives   int
	replica *replica // nil while there is none
	before  *replica // the one that a deploy replaces, while webhooks still come to it
	app     *app
	apps    []*app // all there were
}

// replica is one process.
type replica struct {
	name  string // in the timeline
	addr  string
	host  *host
	app   *app
	store *store
	self  *supervise.Replica
	end   chan os.Signal
	ended chan struct{}
}

func newWorld(t *testing.T, p plan) *world {
	w := &world{t: t, seed: p.seed, plan: p, line: &timeline{began: time.Now()},
		net: &network{listeners: map[string]*listener{}}, dices: map[string]*dice{}, tries: map[string]int{}, poison: map[string]bool{}}
	w.db = newDatabase(w.line)
	w.ledger = &ledger{line: w.line, strict: p.strict, maxAttempts: p.maxAttempts, db: w.db,
		hooks: map[string]*entry{}, waiting: map[string][]*entry{}}
	w.db.failed, w.db.tried = w.ledger.fails, w.ledger.recorded
	w.db.spinning = func(replica string) {
		w.ledger.broken("", "SPINNING: %s has claimed %d times within %v", replica, mostClaims, spinWindow)
	}
	for i := range p.replicas {
		s := &slot{world: w, index: i}
		s.newApp()
		w.slots = append(w.slots, s)
	}
	return w
}

func (w *world) dice(entity string) *dice {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.dices[entity]
	if d == nil {
		d = newDice(w.seed, entity)
		w.dices[entity] = d
	}
	return d
}

// mostPoison is how many webhooks of a world kill the replica that delivers them.
// Each costs some time, and a world must end within its limit.
const mostPoison = 2

func (w *world) isPoison(key string) bool {
	if w.last.Load() || !newDice(w.seed, "poison/"+key).chance(w.plan.poison) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.poison) < mostPoison {
		w.poison[key] = true
	}
	return w.poison[key]
}

// nth counts the requests with a webhook that apps have had.
func (w *world) nth(key string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tries[key]++
	return w.tries[key]
}

func (w *world) faults() faults {
	if w.calm.Load() {
		return faults{}
	}
	return w.plan.faults
}

func (s *slot) newApp() {
	s.version++
	name := fmt.Sprintf("app%d.%d", s.index, s.version)
	s.app = &app{world: s.world, slot: s, name: name, addr: name + ":3000", mood: moods[0]}
	s.apps = append(s.apps, s.app)
	s.app.start()
}

func (s *slot) serving() *replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replica
}

// start begins a process where there is none, of the same name as the one before
// it unless there was a deploy between.
func (s *slot) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.replica != nil {
		return
	}
	s.begin()
}

// deploy replaces app and sidecar by new ones, which both stay for a while beside
// the old ones. It returns the old app.
func (s *slot) deploy() *app {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.app
	s.before = s.replica
	s.newApp()
	s.begin()
	return old
}

// reached is the replica that a sender's request comes to: in a deploy the new one
// or the old one, until that is told to stop.
func (s *slot) reached(d *dice) *replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.before != nil && d.chance(0.5) {
		return s.before
	}
	return s.replica
}

func (s *slot) current() *app {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.app
}

// begin starts a process. The caller holds the lock.
func (s *slot) begin() {
	w := s.world
	s.lives++
	pod := fmt.Sprintf("r%d.%d", s.index, s.version)
	r := &replica{name: fmt.Sprintf("r%d#%d", s.index, s.lives), addr: pod + ":8080", app: s.app,
		end: make(chan os.Signal, 1), ended: make(chan struct{})}
	r.host = newHost(w.seed, r.name)
	var err error
	r.self, err = supervise.New(w.config(pod, s.version), supervise.Options{
		Version:   "simulated",
		Log:       slog.New(&logHandler{line: w.line, who: r.name, mute: r.host.isDead}),
		Terminate: r.end,
		Store: func(c buffer.Config) (supervise.Store, error) {
			r.store = newStore(w.db, c, r.name, w.seed, r.host, w.faults)
			return r.store, nil
		},
		Listen: func(_, addr string) (net.Listener, error) { return w.net.listen(r.host, addr) },
		Dial:   func(ctx context.Context, _, _ string) (net.Conn, error) { return r.app.dial(ctx, r) },
	})
	if err != nil {
		w.t.Errorf("make replica: %v", err)
		return
	}
	w.line.note(r.name, "the sidecar starts as %s", pod)
	s.replica = r
	w.ending.Go(func() {
		code := r.self.Run()
		if !r.host.isDead() {
			w.line.note(r.name, "the sidecar ends with %d", code)
		}
		r.host.kill(w.net)
		close(r.ended)
	})
}

// config is the settings of a replica, which are the defaults but for times
// that would make a world last longer.
func (w *world) config(pod string, version int) *config.Config {
	order := "lane"
	if w.plan.strict {
		order = "strict"
	}
	var keys [][]byte // each deploy has one more
	for v := version; w.plan.rotates && v > 0; v-- {
		keys = append(keys, bytes.Repeat([]byte{byte(v)}, 32))
	}
	sender := "generic"
	if w.plan.verified {
		sender += ":X-Signature:SIMULATED_SECRET"
	}
	list, err := routes.Parse("/hooks/*="+sender+"+202+"+w.plan.budget.String(), routes.Options{AllowUnverified: true, Secret: func(name string) string {
		return map[string]string{"SIMULATED_SECRET": secret}[name]
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	list[0].Lane = routes.LaneKey{"lane"}
	return &config.Config{
		Common: settings.Common{
			DatabaseAuth: "password", MaxBodyBytes: 1 << 20, MaxInflightBytes: 64 << 20,
			Retention: time.Hour, TerminationGraceSeconds: 30,
		},
		ListenAddr: pod + ":8080", ProbeAddr: pod + ":8081", ControlAddr: pod + ":9090",
		AppURL: "http://app:3000", AppHealthPath: "/healthz", AppProbeInterval: time.Second,
		AppProbeIntervalOff: 250 * time.Millisecond, AppProbeTimeout: 2 * time.Second, AppAnswerTimeout: 15 * time.Second,
		HeaderTimeout: 10 * time.Second, BodyTimeout: 60 * time.Second,
		IdleTimeout: 300 * time.Second, HoldMaxRows: 1_000_000, HoldMaxBytes: 1 << 40, HoldMaxUnverifiedBytes: 1 << 40,
		HoldTimeout: 1500 * time.Millisecond, Order: order, CatchupLimit: time.Hour, ReplayConcurrency: 8,
		ReplayMaxAttempts: w.plan.maxAttempts, ReplayAwayLimit: time.Hour, ReplayMinBackoff: 200 * time.Millisecond,
		ReplayMaxBackoff: 2 * time.Second, StartupGate: "buffer",
		BreakerLimit: w.plan.breaker, BufferKeys: keys,
		ReplicaName: pod, Routes: list,
	}
}

// kill ends a process at once: its connections break, it reaches nobody any
// more, and what of it runs on in the bubble comes to its end unheard.
func (s *slot) kill() bool {
	s.mu.Lock()
	r := s.replica
	s.replica = nil
	s.mu.Unlock()
	if r == nil {
		return false
	}
	s.world.line.note(r.name, "the sidecar is killed")
	r.store.dead.Store(true)
	r.host.kill(s.world.net)
	r.end <- syscall.SIGKILL
	return true
}

// terminate sends SIGTERM and, a while later, to the app as well.
func (s *slot) terminate(r *replica, a *app, later time.Duration) {
	s.world.line.note(r.name, "the sidecar gets SIGTERM")
	s.mu.Lock()
	if s.before == r {
		s.before = nil
	}
	s.mu.Unlock()
	r.end <- syscall.SIGTERM
	sleep(later)
	a.stop()
}

// run lets the world live and returns when all in it has ended.
func (w *world) run() {
	until := time.Now().Add(w.plan.lasts)
	var sending, troubling sync.WaitGroup
	var senders []*sender
	for i := range w.plan.replicas {
		for l := range w.plan.lanes {
			name := fmt.Sprintf("L%d", l)
			if !w.plan.strict {
				name = fmt.Sprintf("L%d.r%d", l, i)
			} else if i > 0 {
				continue
			}
			senders = append(senders, &sender{world: w, name: name, lane: fmt.Sprintf("L%d", l), slot: i,
				host: newHost(w.seed, name), dice: newDice(w.seed, "sender/"+name), conns: map[string]*session{}})
		}
	}
	for _, s := range w.slots {
		troubling.Go(func() { s.troubled(until) })
		troubling.Go(func() { s.moody(until) })
	}
	troubling.Go(func() { w.databaseTroubled(until) })
	for _, s := range senders {
		sending.Go(func() { s.run(until) })
	}
	troubling.Wait()
	sending.Wait()
	w.line.note("world", "the faults stop")
	w.calm.Store(true)
	w.converge("after the faults")
	w.last.Store(true)
	for _, s := range senders {
		sending.Go(func() {
			if !s.deliver(60) {
				w.ledger.broken(fmt.Sprintf("%s/%d", s.name, s.n), "REFUSED: not acknowledged within a minute and more, though all is well")
			}
		})
	}
	sending.Wait()
	w.converge("after the last webhooks")
	for _, s := range senders {
		s.close()
	}
	w.stop()
	w.ledger.check()
}

// checkHolder is called when a replica sends what was held: the lease of the
// webhook's bucket must be nobody else's by then, however the clocks run.
func (w *world) checkHolder(key string, r *replica) {
	w.db.mu.Lock()
	l := w.db.leases[bucketOf(w.ledger.laneOf(key))]
	w.db.mu.Unlock()
	if l.holder != "" && l.holder != r.store.instance {
		w.ledger.broken(key, "TWO HOLDERS: %s sends it, and %s has the lease", r.name, w.db.called(l.holder))
	}
}

// patience is how long lanes may stay shut after the faults: a dead replica is
// known after 15 s, and so long judges nobody who was away himself.
const patience = 90 * time.Second

// converge waits until nothing is held and every lane is open.
func (w *world) converge(when string) {
	shut := func() (rows []string, text string) {
		rows, text = w.db.left()
		for _, s := range w.slots {
			r := s.serving()
			if r == nil {
				text += "\n    no replica serves"
				continue
			}
			st := r.self.Status()
			if st.ShutLanes > 0 || st.Holding > 0 || st.InFlight > 0 || st.State != "passing" && !(st.Sealed && st.State == "replaying") {
				text += fmt.Sprintf("\n    %s is %s, %d lanes shut, %d holds and %d requests under way", r.name, st.State, st.ShutLanes, st.Holding, st.InFlight)
			}
		}
		return rows, text
	}
	for began := time.Now(); ; sleep(100 * time.Millisecond) {
		rows, text := shut()
		if text == "" {
			w.line.note("world", "every lane is open %s", when)
			return
		}
		if time.Since(began) > patience {
			w.ledger.broken("", "SHUT: %v %s there is left:%s", patience, when, text)
			for _, name := range rows {
				w.ledger.broken(name, "SHUT: still held")
			}
			return
		}
	}
}

func (w *world) stop() {
	w.stopping.Store(true)
	for _, s := range w.slots {
		if r := s.serving(); r != nil {
			s.terminate(r, s.current(), 0)
		}
	}
	w.ending.Wait()
	for _, s := range w.slots {
		for _, a := range s.apps {
			a.stop()
			a.serving.Wait()
		}
	}
	w.db.running.Wait()
}

// keys are the webhooks that the first violations are about.
func (l *ledger) keys() map[string]bool {
	keys := map[string]bool{}
	for _, v := range l.violations {
		for _, key := range []string{v.key, v.other} {
			if key != "" && len(keys) < 2 {
				keys[key] = true
			}
		}
	}
	return keys
}
