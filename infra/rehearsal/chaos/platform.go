package chaos

import (
	"context"
	"fmt"
	"time"

	"sluice/infra/rehearsal/replica"
	"sluice/infra/rehearsal/verdict"
)

const (
	readyLimit = 45 * time.Second
	linger     = time.Second // how long the balancer routes to a replica after its SIGTERM
	// cutting is how long before its exit a sidecar whose drain was not clean may
	// have cut off deliveries.
	cutting = 6 * time.Second
)

// serving returns the replicas that are not leaving, or with leaving all that
// still run.
func (s *stage) serving(leaving bool) (nodes []*node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.nodes {
		if !n.gone() && (leaving || !s.leaving[n]) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// startReplica starts a replica and puts it behind the balancer.
func (s *stage) startReplica(ctx context.Context, old bool) (*node, <-chan struct{}, error) {
	s.mu.Lock()
	number := len(s.nodes) + 1
	s.mu.Unlock()
	revision, sidecar := "new", s.config.Sidecar
	if old {
		revision, sidecar = "old", s.config.Old
	}
	n, err := s.newNode(ctx, fmt.Sprintf("%s-%d", revision, number), revision, sidecar)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	s.nodes = append(s.nodes, n)
	s.mu.Unlock()
	s.work.Go(func() { s.watch(ctx, n) })
	return n, s.balancer.Add(n.Name, n.links[BalancerWire].relay.Addr(), replica.Addr(n.Ports.Probe)), nil
}

// ready waits until a new replica takes traffic.
func ready(ctx context.Context, first <-chan struct{}) bool {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	select {
	case <-first:
		return true
	case <-ctx.Done():
		return false
	}
}

// platformLoop deploys and scales, one step after another.
func (s *stage) platformLoop(ctx context.Context, steps <-chan Step) {
	for step := range steps {
		if !s.last(ctx, 0) {
			continue
		}
		s.log.Add("platform", "%v", step)
		var err error
		if step.Kind == Deploy {
			err = s.deploy(ctx, step)
		} else {
			err = s.scale(ctx, step)
		}
		if err != nil {
			s.problem("%v: %v", step, err)
		}
	}
}

// deploy replaces the replicas, each by one that is ready first.
func (s *stage) deploy(ctx context.Context, step Step) error {
	for i, out := range s.serving(false) {
		if step.Half && i%2 == 1 {
			continue
		}
		in, first, err := s.startReplica(ctx, step.Old)
		if err != nil {
			return err
		}
		if !ready(ctx, first) {
			s.log.Add("platform", "%s did not become ready, the deploy ends here", in.Name)
			s.retire(ctx, in, step)
			return nil
		}
		s.retire(ctx, out, step)
	}
	return nil
}

func (s *stage) scale(ctx context.Context, step Step) error {
	nodes := s.serving(false)
	for len(nodes) > step.Replicas {
		i := int(step.Pick) % len(nodes)
		s.retire(ctx, nodes[i], step)
		nodes = append(nodes[:i:i], nodes[i+1:]...)
	}
	for range step.Replicas - len(nodes) {
		_, first, err := s.startReplica(ctx, false)
		if err != nil {
			return err
		}
		ready(ctx, first) // the next one starts even when this one is not ready in time
	}
	return nil
}

// retire stops a replica in the background, as the platform does. The others go
// on meanwhile.
func (s *stage) retire(ctx context.Context, n *node, step Step) {
	s.mu.Lock()
	s.leaving[n] = true
	s.mu.Unlock()
	s.retiring.Go(func() {
		var signalled time.Time
		order := replica.Order{First: step.First, Lead: min(step.Lead, step.Grace/2)}
		exit := n.Terminate(ctx, order, step.Grace, func(at time.Time) {
			signalled = at
			s.balancer.Leave(ctx, n.Name, linger)
		})
		s.noteExit(n, exit, signalled.Add(step.Grace))
		n.close()
		s.load.client.forget(n.links[BalancerWire].relay.Addr())
	})
}

// noteExit records as a fault what the end of a replica may have cut off. A
// sidecar that had to cut something off exits with 1.
func (s *stage) noteExit(n *node, exit replica.Exit, deadline time.Time) {
	now := time.Now()
	switch {
	case exit.SidecarCut:
		s.faults.add(verdict.Fault{Kind: "sidecar killed at the end of its grace", Replica: n.Name, Begin: deadline, End: now, Silences: true, Repeats: true})
	case exit.Sidecar == 1:
		s.faults.add(verdict.Fault{Kind: "sidecar's drain cut off", Replica: n.Name, Begin: now.Add(-cutting), End: now, Silences: true, Repeats: true})
	case exit.Sidecar > 1:
		s.problem("%s's sidecar ended with exit code %d", n.Name, exit.Sidecar)
	}
	switch {
	case exit.AppCut:
		s.faults.add(verdict.Fault{Kind: "app killed at the end of its grace", Replica: n.Name, Begin: deadline, End: now, Repeats: true})
	case exit.App > 0:
		s.problem("%s's app ended with exit code %d", n.Name, exit.App)
	}
}
