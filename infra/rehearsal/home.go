package rehearsal

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"sluice/infra/rehearsal/replica"
)

// home is how a platform ends a replica and puts another in its place. The facts and
// their sources are in docs/homes.
type home struct {
	order replica.Order
	// alone: one container runs both, by `sidecar run`.
	alone bool
	// bare: there is no sidecar, the platform's requests go to the app.
	bare bool
	// inPlace: a deploy ends the old replica before it starts the new one.
	inPlace bool
	// sidecarGrace is the sidecar's own TERMINATION_GRACE_SECONDS, 0 for the replica's.
	sidecarGrace time.Duration
}

// appFirst: the sidecar is signalled once the app has ended.
var appFirst = replica.Order{First: "app", After: true}

var homes = map[string]home{
	"azure": {},
	// A native sidecar; with two plain containers it is as on Azure.
	"kubernetes": {order: appFirst, sidecarGrace: 15 * time.Second},
	// What depends on the sidecar is stopped before it.
	"compose": {order: appFirst, inPlace: true},
	// Fly, Render, Railway and Cloud Run, with their graces.
	"single": {alone: true},
	// Azure without Sluice, to compare with.
	Bare: {bare: true},
}

// Bare is the home without a sidecar. A run there judges no webhook: it shows what an
// app loses by itself.
const Bare = "bare"

// bareScenarios are those that need no sidecar.
var bareScenarios = []string{"deploy", "restart", "crash-app", "slow-boot"}

// Homes returns the names of the homes.
func Homes() []string { return slices.Sorted(maps.Keys(homes)) }

func (c *Config) home() home { return homes[c.Home] }

// signal returns how SIGTERM reaches the containers.
func (c *Config) signal() replica.Order {
	if c.Signal.First != "" {
		return c.Signal
	}
	return c.home().order
}

// sidecarStops returns what the sidecar takes for its grace.
func (c *Config) sidecarStops() time.Duration {
	if own := c.home().sidecarGrace; own > 0 {
		return min(own, c.Grace)
	}
	return c.Grace
}

// replacements is how often deploy with Replace replaces the container.
const replacements = 2

// replaceOne replaces one of the two containers in place, while the other goes on.
func replaceOne(ctx context.Context, s *stage, only *replica.Replica) error {
	for n := range replacements {
		s.at(ctx, 0.2+0.4*float64(n))
		code, cut := only.Replace(ctx, s.config.Replace, s.config.Grace)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var exit replica.Exit
		if s.config.Replace == "app" {
			exit.App, exit.AppCut = code, cut
		} else {
			exit.Sidecar, exit.SidecarCut = code, cut
		}
		s.checkExit(only, exit)
		if err := s.answers(ctx, only, s.config.Replace); err != nil {
			return err
		}
	}
	return nil
}

// answers waits until a container that was replaced answers its probe.
func (s *stage) answers(ctx context.Context, r *replica.Replica, name string) error {
	url := "http://" + replica.Addr(r.Ports.Probe) + "/readyz"
	if name == "app" {
		url = "http://" + replica.Addr(r.Ports.App) + "/healthz"
	}
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for !healthy(ctx, url) {
		if ctx.Err() != nil {
			return fmt.Errorf("wait for the new %s of %s (logs in %s): %w", name, r.Name, s.dir, ctx.Err())
		}
		pause(ctx, pollEvery)
	}
	return nil
}
