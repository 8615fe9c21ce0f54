package simulate

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"
)

// plan is what a seed decides before the world begins. Each world has a few
// kinds of trouble rather than all of them.
type plan struct {
	seed        uint64
	strict      bool
	doors       int           // replicas beside each other
	lanes       int           //
	lasts       time.Duration // how long there is trouble
	gap         time.Duration // between two webhooks of a sender, on average
	budget      time.Duration // of the route
	maxAttempts int
	breaker     time.Duration // BREAKER_LIMIT
	rotates     bool          // each deploy has a new key
	verified    bool          // the webhooks are signed
	poison      float64       // webhooks that end the app and the sidecar

	faults faults
	// How likely each kind of trouble is when there is to be some.
	kill, pause, partition, deploy float64
	appDies, mood                  float64
	away, crash, jump, operator    float64
}

func newPlan(seed uint64) plan {
	d := newDice(seed, "plan")
	p := plan{
		seed: seed, strict: d.chance(0.4), doors: 1 + d.below(3), lanes: 1 + d.below(3),
		lasts: d.between(30*time.Second, 90*time.Second), gap: d.between(50*time.Millisecond, 600*time.Millisecond),
		budget: d.between(300*time.Millisecond, 1500*time.Millisecond), maxAttempts: 3 + d.below(4),
		faults: faults{
			lostRequest: d.rate(0.05), lostAnswer: d.rate(0.1), slow: d.rate(0.05), slowCommit: d.rate(0.1),
			slowest: d.between(100*time.Millisecond, 4*time.Second), slowestCommit: d.between(100*time.Millisecond, 6*time.Second),
		},
		kill: d.rate(1), pause: d.rate(1), partition: d.rate(1), deploy: d.rate(1),
		appDies: d.rate(1), mood: d.rate(2),
		away: d.rate(0.5), crash: d.rate(0.5), jump: d.rate(0.5), operator: d.rate(0.3),
	}
	p.rotates = d.chance(0.3)
	p.verified = d.chance(0.7)
	if d.chance(0.2) {
		p.poison = 0.01
	}
	p.breaker = []time.Duration{0, 10 * time.Second, time.Hour}[d.below(3)]
	p.faults.sluggish, p.faults.sluggishRate, p.faults.sluggishFor = op(d.below(int(opCount))), d.rate(0.8), slowestKind
	if d.chance(0.3) { // many lanes, of which a replica has held nothing itself
		p.lanes, p.gap = 8+d.below(24), 8*p.gap
	}
	at := d.below(12) // the rest are as they are
	if k := slices.Index(kinds, *onlyKind); k >= 0 {
		p.strict, at = true, k
	}
	switch {
	case p.strict && at == 0:
		p.handOver(d)
	case p.strict && at == 1:
		p.lateWord(d)
	}
	return p
}

// kinds are worlds of ORDER=strict in which little happens, but again and again.
var (
	kinds    = []string{"handOver", "lateWord"}
	onlyKind = flag.String("kind", "", "make every world one of these: "+strings.Join(kinds, ", "))
)

// handOver makes a world of quick deploys under ORDER=strict in which looks are
// slow: the old replica may acknowledge a webhook and leave while the new one's
// look is under way.
func (p *plan) handOver(d *dice) {
	p.faults = faults{sluggish: opLook, sluggishRate: 0.8, sluggishFor: slowestKind, slow: 0.3, slowest: d.between(500*time.Millisecond, 3*time.Second)}
	p.doors, p.lanes, p.gap, p.lasts = 1, 8+d.below(24), d.between(200*time.Millisecond, time.Second), 90*time.Second
	p.quiet()
	p.deploy = 1
}

// lateWord makes a world under ORDER=strict in which heartbeats are late by about
// what a permit lasts: the others may take a replica for gone that is not.
func (p *plan) lateWord(d *dice) {
	p.faults = faults{sluggish: opMember, sluggishRate: 0.3 + 0.6*d.rate(1), sluggishFor: d.between(time.Second, 3*time.Second)}
	p.doors, p.lanes, p.gap, p.lasts = 2, 2+d.below(6), d.between(20*time.Millisecond, 200*time.Millisecond), 90*time.Second
	p.quiet()
}

// quiet leaves out all trouble but the faults.
func (p *plan) quiet() {
	p.kill, p.pause, p.partition, p.deploy, p.appDies, p.mood, p.poison = 0, 0, 0, 0, 0, 0, 0
	p.away, p.crash, p.jump, p.operator = 0, 0, 0, 0
}

func (p plan) String() string {
	var b strings.Builder
	order := "lane"
	if p.strict {
		order = "strict"
	}
	fmt.Fprintf(&b, "seed %d: ORDER=%s, %d doors, %d lanes, trouble for %v, budget %v, REPLAY_MAX_ATTEMPTS=%d, BREAKER_LIMIT=%v, rotates=%v;", p.seed, order, p.doors,
		p.lanes, p.lasts.Round(time.Second), p.budget.Round(time.Millisecond), p.maxAttempts, p.breaker, p.rotates)
	for _, k := range []struct {
		name string
		rate float64
	}{
		{"lost requests", p.faults.lostRequest}, {"lost answers", p.faults.lostAnswer}, {"slow statements", p.faults.slow},
		{"slow commits", p.faults.slowCommit}, {fmt.Sprint("slow ", p.faults.sluggish), p.faults.sluggishRate}, {"kills", p.kill}, {"pauses", p.pause}, {"partitions", p.partition},
		{"deploys", p.deploy}, {"dying apps", p.appDies}, {"moody apps", p.mood}, {"database away", p.away},
		{"database crashes", p.crash}, {"clock jumps", p.jump}, {"operators", p.operator}, {"poison", p.poison},
	} {
		if k.rate > 0 {
			fmt.Fprintf(&b, " %s %.2f,", k.name, k.rate)
		}
	}
	return strings.TrimSuffix(b.String(), ",")
}
