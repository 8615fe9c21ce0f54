package rehearsal

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice/infra/rehearsal/replica"
)

// scenario is what happens to the replicas while webhooks come in. The first
// replica takes traffic when play starts.
type scenario struct {
	about string
	play  func(ctx context.Context, s *stage, first *replica.Replica) error
	// exits are the exit codes that an app signalled in it may have; nil for 0 only.
	exits []int
}

var scenarios map[string]scenario

func init() {
	scenarios = map[string]scenario{
		"deploy":        {"a new revision becomes ready, then the old one is stopped", deploy, nil},
		Rolled:          {"three replicas are replaced one after the other", roll, nil},
		"restart":       {"the only replica is stopped, then a new one started", restart, nil},
		"crash-app":     {"the app is killed, twice, and starts again in place", crashApp, nil},
		"crash-sidecar": {"the sidecar is killed, twice, and starts again in place", crashSidecar, nil},
		"slow-boot":     {"a new revision takes traffic long before its app listens", slowBoot, nil},
		"long-drain":    {"jobs outlast the first window of the app's drain", longDrain, nil},
		"db-away":       {"PostgreSQL dies during the drain and comes back", dbAway, []int{0, 1}},
	}
}

// Scenarios returns the names of all scenarios, in the order to run them.
func Scenarios() []string {
	return []string{"deploy", "restart", "crash-app", "crash-sidecar", "slow-boot", "long-drain", "db-away"}
}

func deploy(ctx context.Context, s *stage, old *replica.Replica) error {
	switch {
	case s.config.Replace != "":
		return replaceOne(ctx, s, old)
	case s.config.home().inPlace:
		return restart(ctx, s, old)
	}
	s.at(ctx, 0.2)
	next, err := s.start(ctx, "rev2", startOptions{})
	if err != nil {
		return err
	}
	if err := s.ready(ctx, next); err != nil {
		return err
	}
	pause(ctx, s.config.Overlap)
	s.retire(ctx, old, s.config.Linger)
	return nil
}

// Rolled is the scenario that the bench measures with. [Scenarios] leaves it out.
const Rolled = "rolled"

const rolledReplicas = 3

// roll replaces three replicas, each as deploy does, so that there is always one
// that passes.
func roll(ctx context.Context, s *stage, first *replica.Replica) error {
	old := []*replica.Replica{first}
	for len(old) < rolledReplicas {
		r, err := s.start(ctx, "rev1", startOptions{})
		if err != nil {
			return err
		}
		if err := s.ready(ctx, r); err != nil {
			return err
		}
		old = append(old, r)
	}
	s.at(ctx, 0.1)
	for _, r := range old {
		next, err := s.start(ctx, "rev2", startOptions{})
		if err != nil {
			return err
		}
		if err := s.ready(ctx, next); err != nil {
			return err
		}
		pause(ctx, s.config.Overlap)
		s.retire(ctx, r, s.config.Linger)
	}
	return nil
}

func restart(ctx context.Context, s *stage, old *replica.Replica) error {
	s.at(ctx, 0.3)
	s.retire(ctx, old, s.config.Linger)
	next, err := s.start(ctx, "rev1", startOptions{})
	if err != nil {
		return err
	}
	return s.ready(ctx, next)
}

func crashApp(ctx context.Context, s *stage, only *replica.Replica) error {
	for _, moment := range []float64{0.2, 0.6} {
		s.at(ctx, moment)
		only.CrashApp()
	}
	return nil
}

func crashSidecar(ctx context.Context, s *stage, only *replica.Replica) error {
	for _, moment := range []float64{0.2, 0.6} {
		s.at(ctx, moment)
		only.CrashSidecar()
	}
	return nil
}

func slowBoot(ctx context.Context, s *stage, old *replica.Replica) error {
	s.at(ctx, 0.1)
	next, err := s.start(ctx, "rev2", startOptions{startupGate: "buffer", appDelay: s.config.BootDelay})
	if err != nil {
		return err
	}
	if err := s.ready(ctx, next); err != nil {
		return err
	}
	s.retire(ctx, old, s.config.Linger)
	return nil
}

// longJobs is how many jobs of long-drain are long.
const longJobs = 4

func longDrain(ctx context.Context, s *stage, old *replica.Replica) error {
	s.at(ctx, 0.2)
	s.fleet.Burst(ctx, longJobs, s.config.Work)
	if err := s.jobsRunning(ctx, old, longJobs); err != nil {
		return err
	}
	// Stop the old replica and start the new one at the same time, so that the old
	// app still has the jobs and must wait for them.
	retired := make(chan struct{})
	s.work.Go(func() {
		defer close(retired)
		s.retire(ctx, old, s.config.Linger)
	})
	next, err := s.start(ctx, "rev1", startOptions{})
	if err == nil {
		err = s.ready(ctx, next)
	}
	<-retired
	s.expectInLog(old, "app", "Drain timeout, extending grace window once")
	return err
}

func dbAway(ctx context.Context, s *stage, old *replica.Replica) error {
	s.at(ctx, 0.2)
	const before, after = 500 * time.Millisecond, time.Second
	untilLeave := s.config.Grace
	retired := make(chan struct{})
	s.work.Go(func() {
		defer close(retired)
		s.retire(ctx, old, untilLeave)
	})
	pause(ctx, before)
	err := s.databaseAway(ctx, s.config.Away)
	// From now on webhooks are held again.
	s.balancer.Leave(ctx, old.Name, after)
	<-retired
	if err != nil {
		return err
	}
	next, err := s.start(ctx, "rev1", startOptions{})
	if err != nil {
		return err
	}
	return s.ready(ctx, next)
}

// expectInLog records a fault when a container's log lacks the message: the
// scenario did not happen then.
func (s *stage) expectInLog(r *replica.Replica, container, message string) {
	log, err := os.ReadFile(filepath.Join(s.dir, r.Name+"-"+container+".log"))
	if err != nil || !strings.Contains(string(log), message) {
		s.fault("the log of %s's %s has no %q", r.Name, container, message)
	}
}

// checkExit records a fault when a signalled replica had to be killed or ended
// with an exit code that the contract does not allow.
func (s *stage) checkExit(r *replica.Replica, exit replica.Exit) {
	allowed := scenarios[s.config.Scenario].exits
	if allowed == nil {
		allowed = []int{0}
	}
	for _, c := range []struct {
		name string
		code int
		cut  bool
	}{{"sidecar", exit.Sidecar, exit.SidecarCut}, {"app", exit.App, exit.AppCut}} {
		switch {
		case c.cut:
			s.fault("%s's %s had to be killed after %s", r.Name, c.name, s.config.Grace)
		case !slices.Contains(allowed, c.code):
			s.fault("%s's %s ended with exit code %d", r.Name, c.name, c.code)
		}
	}
}
