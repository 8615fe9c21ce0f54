package chaos

import (
	"context"
	"time"

	"sluice/infra/rehearsal/relay"
	"sluice/infra/rehearsal/replica"
	"sluice/infra/rehearsal/sender"
	"sluice/infra/rehearsal/verdict"
)

const (
	repairEvery = 50 * time.Millisecond
	repairLimit = time.Minute
)

const (
	databaseKilled = "postgres killed"
	databaseFrozen = "postgres frozen"
)

// last waits for d, the length of a fault. It returns false when the act ends
// first.
func (s *stage) last(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.over:
	case <-ctx.Done():
	}
	return false
}

// strike does one step and repairs what it has done, early when the act ends.
func (s *stage) strike(ctx context.Context, step Step) {
	nodes := s.serving(true)
	if len(nodes) == 0 {
		return
	}
	n := nodes[int(step.Pick)%len(nodes)]
	switch step.Kind {
	case KillApp:
		s.killApp(ctx, n)
	case KillSidecar:
		s.killSidecar(ctx, n)
	case KillBoth:
		s.killBoth(ctx, n)
	case KillAll:
		for _, n := range nodes {
			s.strikes.Go(func() { s.killBoth(ctx, n) })
		}
		s.killDatabase(ctx, step)
	case KillDatabase:
		s.killDatabase(ctx, step)
	case FreezeSidecar:
		s.freezeSidecar(ctx, n, step)
	case FreezeDatabase:
		s.freezeDatabase(ctx, step)
	case CutWire, DelayWire, DropAnswers:
		if !step.All {
			nodes = []*node{n}
		}
		for _, n := range nodes {
			s.strikes.Go(func() { s.disturb(ctx, n, step) })
		}
	case Deploy, Scale: // platformLoop does them
	}
}

func (s *stage) killApp(ctx context.Context, n *node) {
	end := s.faults.begin(verdict.Fault{Kind: "app killed", Replica: n.Name, Repeats: true})
	defer end()
	n.CrashApp()
	s.until(ctx, n, func() bool { return reachable("http://" + replica.Addr(n.Ports.App) + "/healthz") })
}

func (s *stage) killSidecar(ctx context.Context, n *node) {
	end := s.faults.begin(verdict.Fault{Kind: "sidecar killed", Replica: n.Name, Silences: true, Repeats: true, Forgets: true})
	defer end()
	n.CrashSidecar()
	s.until(ctx, n, func() bool { return reachable("http://" + replica.Addr(n.Ports.Control) + statusPath) })
}

func (s *stage) killBoth(ctx context.Context, n *node) {
	s.strikes.Go(func() { s.killApp(ctx, n) })
	s.killSidecar(ctx, n)
}

// until waits until a killed process runs again or its replica is gone.
func (s *stage) until(ctx context.Context, n *node, back func() bool) {
	// A process that was just killed may still answer.
	for begun := time.Now(); sender.Pause(ctx, repairEvery) && !n.gone() && time.Since(begun) < repairLimit; {
		if back() {
			return
		}
	}
}

func (s *stage) killDatabase(ctx context.Context, step Step) {
	if !s.databaseTurn.TryLock() {
		return
	}
	defer s.databaseTurn.Unlock()
	end := s.faults.begin(verdict.Fault{Kind: databaseKilled, Repeats: true, Blinds: true})
	defer end()
	s.log.Add("postgres", "SIGKILL to all its processes, for %s", step.For)
	if err := s.server.Crash(); err != nil {
		s.problem("%v", err)
	}
	s.last(ctx, step.For)
	if err := s.server.Restart(ctx); err != nil {
		s.problem("%v", err)
		return
	}
	s.log.Add("postgres", "is back")
}

func (s *stage) freezeDatabase(ctx context.Context, step Step) {
	if !s.databaseTurn.TryLock() {
		return
	}
	defer s.databaseTurn.Unlock()
	end := s.faults.begin(verdict.Fault{Kind: databaseFrozen, Repeats: true, Blinds: true})
	defer end()
	s.log.Add("postgres", "SIGSTOP for %s", step.For)
	if err := s.server.Freeze(); err != nil {
		s.problem("%v", err)
	}
	s.last(ctx, step.For)
	if err := s.server.Thaw(); err != nil {
		s.problem("%v", err)
	}
	s.log.Add("postgres", "SIGCONT")
}

func (s *stage) freezeSidecar(ctx context.Context, n *node, step Step) {
	end := s.faults.begin(verdict.Fault{Kind: "sidecar frozen", Replica: n.Name, Silences: true, Repeats: true})
	defer end()
	if n.FreezeSidecar() {
		s.last(ctx, step.For)
		n.ThawSidecar()
	}
}

// disturb cuts or delays one wire of a replica, or drops its answers.
func (s *stage) disturb(ctx context.Context, n *node, step Step) {
	l := n.links[step.Wire]
	if n.gone() || !l.take() {
		return
	}
	defer l.free()
	kind := map[Kind]string{CutWire: "cut", DelayWire: "delayed", DropAnswers: "loses answers"}[step.Kind]
	end := s.faults.begin(verdict.Fault{
		Kind: "wire to " + step.Wire.String() + " " + kind, Replica: n.Name,
		Silences: step.Wire == BalancerWire, Repeats: step.Wire != BalancerWire, Blinds: step.Wire == DatabaseWire,
	})
	defer end()
	s.log.Add(n.Name, "%v", step)
	refuses := step.Kind == CutWire && step.For > 0
	if refuses {
		s.refuse(l, true)
	}
	if step.Kind == CutWire {
		l.relay.Cut()
	} else if step.Kind == DropAnswers {
		l.relay.Disturb(relay.Fault{Drop: true, Hold: step.Delay})
	} else {
		l.relay.Disturb(relay.Fault{Delay: step.Delay})
	}
	s.last(ctx, step.For)
	l.relay.Repair()
	if refuses {
		s.refuse(l, false)
	}
}

func (s *stage) refuse(l *link, refuses bool) {
	if err := l.refuse(refuses); err != nil {
		s.problem("%v", err)
	}
}
