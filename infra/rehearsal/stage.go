package rehearsal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"sluice/infra/rehearsal/replica"
)

const (
	readyLimit  = 60 * time.Second
	pollEvery   = 50 * time.Millisecond
	localLimit  = 2 * time.Second
	statusRoute = "/v1/status"
)

// local is the client for the run's own processes, whose answers are small and
// quick.
var local = &http.Client{Timeout: localLimit, Transport: &http.Transport{}}

type startOptions struct {
	startupGate string        // "" for the default, "app"
	appDelay    time.Duration // how late the app's process starts
}

// start starts a replica of a revision and puts it behind the balancer.
func (s *stage) start(ctx context.Context, revision string, o startOptions) (*replica.Replica, error) {
	if o.startupGate == "" {
		o.startupGate = "app"
	}
	name := fmt.Sprintf("%s-%d", revision, len(s.replicas)+1)
	spec := replica.Spec{
		Name: name, LogDir: s.dir, Backoff: s.config.Backoff,
		Sidecar: s.sidecarCommand(name, revision, o.startupGate),
		App:     s.appCommand(o.appDelay),
		SidecarStarted: func(p replica.Ports, at time.Time) {
			if s.config.Seed == 0 {
				s.work.Go(func() { s.timeColdStart(ctx, name, p, at) })
			}
		},
		AppStarted: func(p replica.Ports, at time.Time) {
			s.work.Go(func() { s.timeHealth(ctx, name, p, at) })
		},
		Died: func(how string) { s.fault("%s's %s", name, how) },
	}
	switch home := s.config.home(); {
	case home.bare:
		spec.Sidecar, spec.App = nil, bareCommand(spec.App)
	case home.alone:
		spec.Sidecar, spec.App = s.bothCommand(spec.Sidecar, spec.App), nil
		sidecarStarted := spec.SidecarStarted
		spec.SidecarStarted = func(p replica.Ports, at time.Time) {
			sidecarStarted(p, at)
			spec.AppStarted(p, at)
		}
	}
	r, err := replica.Start(ctx, spec, &s.log)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.replicas = append(s.replicas, r)
	s.mu.Unlock()
	s.work.Go(func() { s.watchState(ctx, r) })
	return r, nil
}

// ready puts a replica behind the balancer and waits until it takes traffic.
func (s *stage) ready(ctx context.Context, r *replica.Replica) error {
	public, probe := r.Ports.Public, r.Ports.Probe
	if s.config.home().bare {
		public, probe = r.Ports.App, r.Ports.App
	}
	first := s.balancer.Add(r.Name, replica.Addr(public), replica.Addr(probe))
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	select {
	case <-first:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for %s to be ready (logs in %s): %w", r.Name, s.dir, ctx.Err())
	}
}

// retire stops a replica as the platform does, while the balancer still routes to
// it for the given time, and waits until it is gone.
func (s *stage) retire(ctx context.Context, r *replica.Replica, linger time.Duration) {
	exit := r.Terminate(ctx, s.config.signal(), s.config.Grace, func(at time.Time) {
		s.balancer.Leave(ctx, r.Name, linger)
		if s.config.Seed == 0 && !s.config.home().bare {
			s.work.Go(func() { s.timeFirstHold(ctx, r, at) })
		}
	})
	if ctx.Err() == nil {
		s.checkExit(r, exit)
	}
}

// databaseAway kills PostgreSQL as a crash does, and starts it again.
func (s *stage) databaseAway(ctx context.Context, away time.Duration) error {
	s.log.Add("postgres", "dies")
	if err := s.config.Server.Kill(); err != nil {
		return fmt.Errorf("kill database: %w", err)
	}
	s.log.Add("postgres", "is gone")
	pause(ctx, away)
	// Restart even when ctx has ended: cleaning up needs the server.
	if err := s.config.Server.Restart(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("restart database: %w", err)
	}
	s.log.Add("postgres", "is back")
	return nil
}

// jobsRunning waits until the app says that n of its jobs run.
func (s *stage) jobsRunning(ctx context.Context, r *replica.Replica, n int) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Work)
	defer cancel()
	for {
		var drain struct {
			ActiveJobs int `json:"activeJobs"`
		}
		err := getJSON(ctx, "http://"+replica.Addr(r.Ports.App)+"/drain", &drain)
		if err == nil && drain.ActiveJobs >= n {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for %d running jobs, seen %d: %w", n, drain.ActiveJobs, errors.Join(ctx.Err(), err))
		}
		pause(ctx, pollEvery)
	}
}

// watchState records the sidecar's states in the timeline.
func (s *stage) watchState(ctx context.Context, r *replica.Replica) {
	for ; ctx.Err() == nil; pause(ctx, pollEvery) {
		if s.config.home().bare {
			state := "down"
			if healthy(ctx, "http://"+replica.Addr(r.Ports.App)+"/healthz") {
				state = "up"
			}
			if ctx.Err() == nil {
				s.log.Enter(r.Name, state)
			}
			continue
		}
		var status struct {
			State string `json:"state"`
		}
		err := getJSON(ctx, "http://"+replica.Addr(r.Ports.Control)+statusRoute, &status)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			s.log.Enter(r.Name, "down")
		default:
			s.log.Enter(r.Name, status.State)
		}
	}
}

func getJSON(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	resp, err := local.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask %s: status %d", url, resp.StatusCode)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read answer of %s: %w", url, err)
	}
	return nil
}
